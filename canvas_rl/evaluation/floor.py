"""The physical floor: what no kernel can be faster than on a device, calibrated on the device itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from canvas_rl.evaluation.latency import LatencyConfig

_SLACK = {"cuda": 0.8, "cpu": 0.4}
_WINOGRAD = 2.5
_CPU_SIDE, _CUDA_SIDE = 384, 4096
_CPU_BYTES, _CUDA_BYTES = 2**19, 2**29
_REPEATS = 10


@dataclass(frozen=True)
class Floor:
    """The best speed seen on a device.

    Args:
        flops_per_s: of a large square matrix product in the measured dtype.
        bytes_per_s: of reading a buffer once (on a CPU one that fits its caches, since inputs may be there).
        slack: share of the least time that is demanded: 0.8 for the calibration's own noise, 0.4 on a CPU, whose
            inner caches are faster than the calibration sees.
    """

    flops_per_s: float
    bytes_per_s: float
    slack: float

    def seconds(self, flops: int, read_bytes: int) -> float:
        """The least time that reads `read_bytes` once and does `flops`; writes may stay in a cache.

        The counted FLOPs are divided by 2.5 because fast convolutions (Winograd, 2.25 fewer multiplications) need
        fewer than are counted.
        """
        return self.slack * max(flops / _WINOGRAD / self.flops_per_s, read_bytes / self.bytes_per_s)


def calibrate(config: LatencyConfig) -> Floor:
    """Measure the device: a few tens of milliseconds."""
    cuda = config.device == "cuda"
    side = _CUDA_SIDE if cuda else _CPU_SIDE
    matrix = torch.ones(side, side, device=config.device, dtype=config.torch_dtype)
    buffer = torch.ones((_CUDA_BYTES if cuda else _CPU_BYTES) // 4, device=config.device)
    with torch.no_grad():
        product = _best(lambda: matrix @ matrix, cuda)
        reading = _best(lambda: buffer.sum(), cuda)
    return Floor(2 * side**3 / product, buffer.numel() * 4 / reading, _SLACK[config.device])


def _best(call: Callable[[], object], cuda: bool) -> float:
    """Least seconds of several runs."""
    seconds = []
    for _ in range(_REPEATS):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
