"""Kernels that misbehave on the device of their input: most show more on CUDA than on a CPU."""

import time
from typing import Any

import torch
from planted_kernels import KINDS, Good, Subject
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

LOADER = "planted_devices:load"


def out_of_bounds(x: Tensor) -> Tensor:
    """On CUDA a device-side assertion, which shows later; on a CPU an IndexError."""
    return x.flatten()[torch.full((1,), 2**40, device=x.device)]


class WantsMemory(Good):
    """More at once than most GPUs have; its static cost does not tell."""

    def forward(self, x: Tensor) -> Tensor:
        taken = torch.zeros(73 * 2**30, dtype=torch.uint8, device=x.device)
        return super().forward(x) + taken[0]


class DeviceHog(Good):
    def forward(self, x: Tensor) -> Tensor:
        taken = []
        while True:
            taken.append(torch.ones(2**24, device=x.device))


class BadIndex(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + out_of_bounds(x)


class EndlessKernel(Good):
    """Hangs where no Python code runs."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            torch.cuda._sleep(2**62)
        else:
            time.sleep(1000)
        return super().forward(x)


if triton is not None:

    @triton.jit
    def write_far_away(pointer, offset):
        tl.store(pointer + offset, 1.0)


class WildPointer(Good):
    def forward(self, x: Tensor) -> Tensor:
        write_far_away[(1,)](x.detach(), 2**40)
        return super().forward(x)


KINDS |= {
    "wants_memory": WantsMemory,
    "device_hog": DeviceHog,
    "bad_index": BadIndex,
    "endless_kernel": EndlessKernel,
    "wild_pointer": WildPointer,
}


def leave_an_error(payload: dict[str, Any], cache: dict[str, Any]) -> dict[str, Any]:
    """A job that ends before its last CUDA kernel fails."""
    out_of_bounds(torch.zeros(4, device=payload["device"]))
    return {}


def load(graph: dict[str, Any]) -> Subject:
    return Subject(graph)
