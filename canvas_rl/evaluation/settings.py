"""The options of an evaluation: everything that decides what a measurement says."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from canvas_rl.config import known_options
from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.data import Dataset, load_dataset
from canvas_rl.evaluation.gates import GATE_BATCH
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_fingerprint
from canvas_rl.evaluation.subject import Place

_MOST_COMPILERS = 16
_DEVICE_RESERVE = 2 * 2**30
_NO_FIGURES = ("workers", "compile_workers", "skip_slower")
"""Options that decide how or whether kernels are measured, but no figure."""

METHOD_VERSION = 6
"""Raised whenever a change of this package changes figures."""


def processor_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_skip_slower(value: float | None) -> None:
    """Refuse a least speedup of interest that makes no sense.

    Raises:
        ConfigError: it is not above 0, or not finite.
    """
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"skip_slower is {value}: expected a speedup above 0, such as 1.0, or None to skip nothing")


@dataclass(frozen=True)
class EvaluationConfig:
    """How kernels are evaluated."""

    latency: LatencyConfig = field(default_factory=LatencyConfig)
    """device, dtype, batch and mode of the latency measurement"""
    proxy: ProxyConfig | None = field(default_factory=ProxyConfig)
    """data set, backbone and schedule behind the quality; None: latency only, no quality"""
    time_limit_s: float = 60.0
    """wall-clock seconds for one kernel's gates, training and timing together, compiling ahead apart"""
    memory_limit: int = 4 * 2**30
    """bytes that one kernel may take with a batch of two; larger batches may take more on a CUDA device"""
    workers: int = 0
    """worker processes; 0: one for each processor, one on CUDA"""
    compile_workers: int = 0
    """worker processes that compile ahead, where latency's mode is compile; 0: one for each processor, at most 16"""
    compile_limit_s: float = 120.0
    """wall-clock seconds in which one kernel is compiled ahead for all sites, where latency's mode is compile"""
    skip_slower: float | None = None
    """least speedup of interest: kernels predicted to be slower are skipped once enough are timed; None: none is"""
    seed: int = 0
    """seed of weights and inputs in gates and timing"""

    def __post_init__(self) -> None:
        for name in ("time_limit_s", "compile_limit_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected seconds above 0")
        check_skip_slower(self.skip_slower)
        if self.memory_limit < 2**26:
            raise ConfigError(f"memory_limit is {self.memory_limit}: expected at least {2**26} bytes (64 MiB)")
        for name in ("workers", "compile_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}: expected a whole number of at least 0 (0: chosen for you)"
                )
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: expected a whole number of at least 0")

    @property
    def worker_count(self) -> int:
        """How many worker processes check and train side by side."""
        if self.workers:
            return self.workers
        return 1 if self.latency.device == "cuda" else processor_count()

    @property
    def compiler_count(self) -> int:
        """How many worker processes compile side by side; 0 where nothing is compiled."""
        if self.latency.mode != "compile":
            return 0
        return self.compile_workers or min(processor_count(), _MOST_COMPILERS)

    @property
    def process_count(self) -> int:
        """How many worker processes there are: each checks, trains and compiles."""
        return max(self.worker_count, self.compiler_count)

    @property
    def device_memory_limit(self) -> int:
        """Bytes of CUDA memory that a worker may take.

        The memory limit grows with the batch, so that a kernel that passes the gates can be timed; then come buffers of
        the timing and workspaces of CUDA's libraries.
        """
        return self.memory_limit * max(GATE_BATCH, self.latency.batch_size) // GATE_BATCH + _DEVICE_RESERVE

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "latency": self.latency.to_json(),
            "proxy": None if self.proxy is None else self.proxy.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EvaluationConfig":
        """A config saved by `to_json`.

        Raises:
            ConfigError: an unknown or unusable option.
        """
        values = dict(known_options(cls, data, "evaluation"))
        if "latency" in values:
            values["latency"] = LatencyConfig.from_json(values["latency"])
        if values.get("proxy") is not None:
            values["proxy"] = ProxyConfig.from_json(values["proxy"])
        return cls(**values)


def load_proxy_data(config: ProxyConfig) -> Dataset:
    """The data set that a proxy trains on.

    Raises:
        DatasetError: it is missing or malformed.
    """
    return load_dataset(config.dataset, config.data_dir, config.data_seed)


def evaluation_fingerprint(places: Sequence[Place], config: EvaluationConfig) -> str:
    """Hash of everything that changes figures, except the device: equal fingerprints give comparable figures.

    Raises:
        DatasetError: the data set is missing or malformed.
    """
    described = config.to_json()
    for name in _NO_FIGURES:
        del described[name]
    if config.latency.mode != "compile":
        del described["compile_limit_s"]
    if config.proxy is not None:
        described["proxy"] = proxy_fingerprint(config.proxy, load_proxy_data(config.proxy))
    content = {
        "method": METHOD_VERSION,
        "torch": torch.__version__,
        "places": [place.to_json() for place in places],
        "config": described,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
