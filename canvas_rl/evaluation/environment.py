"""What a measurement was made on: device, versions and clocks, as strings."""

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from canvas_rl.evaluation.latency import LatencyConfig


def device_name(config: LatencyConfig) -> str:
    """The name under which figures are stored: figures of two names are never mixed."""
    if config.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{_processor()} ({config.threads} thread{'s' if config.threads > 1 else ''})"


def describe_environment(config: LatencyConfig) -> dict[str, str]:
    """Device, versions and clock state at this moment."""
    described = {
        "device": device_name(config),
        "clock_mhz": _clock(config),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "canvas_rl": _own_version(),
        "platform": platform.platform(),
    }
    if config.device == "cuda":
        described["cuda"] = str(torch.version.cuda)
        described["driver"] = _driver()
        described["tf32"] = f"matmul={torch.backends.cuda.matmul.allow_tf32} cudnn={torch.backends.cudnn.allow_tf32}"
    return described


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _clock(config: LatencyConfig) -> str:
    if config.device != "cuda":
        return _cpuinfo("cpu MHz") or "unknown"
    try:
        return str(torch.cuda.clock_rate())
    except (RuntimeError, ImportError, AttributeError):  # needs NVIDIA's management library
        return "unknown"


def _driver() -> str:
    """The version of NVIDIA's kernel module (Linux)."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return found.group() if found else "unknown"


def _cpuinfo(key: str) -> str:
    """The first value of a key of Linux's processor list, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _own_version() -> str:
    try:
        return version("canvas_rl")
    except PackageNotFoundError:
        return "unknown"
