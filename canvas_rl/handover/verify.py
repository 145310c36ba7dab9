"""Whether an exported file computes what its module does, asked in a process that can't import canvas_rl."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from canvas_rl.errors import ExportError
from canvas_rl.handover import loaders
from canvas_rl.handover.capture import Positional, noise
from canvas_rl.handover.config import TOLERANCES, ExportConfig

_TIME_LIMIT_S = 600
_OTHER = TOLERANCES[torch.float32]


class Check(NamedTuple):
    """What was found: the largest difference between file and module, and what would have been allowed."""

    difference: float
    tolerance: float


def verify(path: Path, positional: Positional, config: ExportConfig) -> Check:
    """Compare file and module at every batch size; differences are relative to the largest output of a call.

    Raises:
        ExportError: the file can't be run, or the difference is above the tolerance.
    """
    inputs = [tuple(noise(positional.inputs(batch), config.seed + index)) for index, batch in enumerate(config.batches)]
    expected = [_outputs(positional, tensors) for tensors in inputs]
    made = _run(path, config.format, inputs)
    wanted = [tensor.cpu() for tensors in expected for tensor in tensors]
    if len(wanted) != len(made):
        raise ExportError(f"the {config.format} file gives {len(made)} tensors where {len(wanted)} are expected")
    worst = max(_difference(*pair) for pair in zip(wanted, made, strict=True))
    allowed = config.tolerance or max(TOLERANCES.get(output.dtype, _OTHER) for output in expected[0])
    if not worst <= allowed:
        raise ExportError(
            f"the {config.format} file gives other outputs than the module: off by {worst:.2g} of the largest, where "
            f"{allowed:.0e} is rounding; nothing was written"
        )
    return Check(worst, allowed)


def _outputs(positional: Positional, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        made = positional(*tensors)
    outputs = made if isinstance(made, tuple) else (made,)
    if not all(bool(output.isfinite().all()) for output in outputs):
        raise ExportError(
            "the module's output for normal noise is not finite, so no file can be compared with it: check its weights"
        )
    return outputs


def _run(path: Path, format: str, inputs: Sequence[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
    """What the file gives, in a process of its own."""
    device = str(inputs[0][0].device)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "inputs.safetensors"), Path(folder, "outputs.safetensors")
        save_file(_named(inputs), given)
        command = [sys.executable, "-P", loaders.__file__, format, device, *map(str, (path, given, made))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"the {format} file did not answer in {_TIME_LIMIT_S} seconds") from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ExportError(f"the {format} file can't be run ({reason[:300]}); nothing was written")
        found = load_file(made)
    return [found[name] for name in sorted(found, key=lambda name: tuple(map(int, name.split("."))))]


def _named(calls: Sequence[tuple[torch.Tensor, ...]]) -> dict[str, torch.Tensor]:
    return {
        f"{index}.{position}": tensor.contiguous().clone()
        for index, tensors in enumerate(calls)
        for position, tensor in enumerate(tensors)
    }


def _difference(expected: torch.Tensor, made: torch.Tensor) -> float:
    """Infinite where shapes or number types differ or something is not finite."""
    if (expected.shape, expected.dtype) != (made.shape, made.dtype) or not bool(made.isfinite().all()):
        return float("inf")
    if not expected.numel():
        return 0.0
    expected, made = expected.double(), made.double()
    largest = float(expected.abs().max())
    return float((expected - made).abs().max()) / (largest or 1.0)
