"""Kernels that misbehave, each in its own way, and a graph-like thing that names them."""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canvas_rl.evaluation.subject import Place
from canvas_rl.ir import StaticCost
from canvas_rl.symbolic.site import Site

LOADER = "planted_kernels:load"


@dataclass(frozen=True)
class Planted:
    """Stands for a kernel graph: a kind of behaviour, and values for it."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.values}


class Subject:
    def __init__(self, graph: dict[str, Any]) -> None:
        self._graph = graph

    def build(self, site: Site) -> nn.Module:
        if "log" in self._graph:
            with Path(self._graph["log"]).open("a") as log:
                log.write(f"{os.getpid()} {self._graph['kind']} {site}\n")
        return KINDS[self._graph["kind"]](site.c)

    def cost(self, site: Site) -> StaticCost:
        kind = self._graph["kind"]
        activation = 10**12 if kind == "large" else 2 * torch.Size(site.shape).numel()
        return StaticCost(10**10 if kind == "identity" else 1000, 100, activation)

    def at(self, place: Place) -> "Subject":
        return self


def load(graph: dict[str, Any]) -> Subject:
    return Subject(graph)


class Good(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Slower(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(super().forward(x))


class Unbuildable(nn.Module):
    def __init__(self, channels: int) -> None:
        raise ValueError("no such module")


class Raising(Good):
    def forward(self, x: Tensor) -> Tensor:
        raise ArithmeticError("planted")


class Untrainable(Good):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2 and self.training:
            raise ArithmeticError("planted")
        return super().forward(x)


class Untimeable(Good):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training and len(x) == 1:
            raise ArithmeticError("planted")
        return super().forward(x)


class Endless(Good):
    def forward(self, x: Tensor) -> Tensor:
        while True:
            time.sleep(0)


class NativeHang(Good):
    """Keeps the interpreter lock, so no Python thread of the worker can do anything about it."""

    def forward(self, x: Tensor) -> Tensor:
        ctypes.PyDLL(None).sleep(1000)
        return x


class HangsCompiling(Good):
    """Runs well, but whoever compiles it waits."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            time.sleep(1000)
        return super().forward(x)


class Segfault(Good):
    def forward(self, x: Tensor) -> Tensor:
        ctypes.string_at(0)
        return x


class Exiting(Good):
    def forward(self, x: Tensor) -> Tensor:
        os._exit(3)


class MemoryHog(Good):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(2**40) + super().forward(x)


class SlowMemoryHog(Good):
    """Takes a little at a time, as Python objects."""

    def forward(self, x: Tensor) -> Tensor:
        taken = []
        while True:
            taken.append(bytearray(b"x" * 2**22))


class TensorHog(Good):
    """Takes a little at a time, as tensors."""

    def forward(self, x: Tensor) -> Tensor:
        taken = []
        while True:
            taken.append(torch.ones(2**20))


class HogInBuild(Good):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.zeros(2**40))


class Prints(Good):
    """Megabytes to both streams: through Python, past it and from a child."""

    def forward(self, x: Tensor) -> Tensor:
        text = "x" * 2**22
        for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
            print(text, file=stream, flush=True)
            os.write(descriptor, text.encode())
        subprocess.run(["sh", "-c", f"head -c {2**22} /dev/zero; head -c {2**22} /dev/zero >&2"], check=True)
        return super().forward(x)


class PrintsForever(Good):
    def forward(self, x: Tensor) -> Tensor:
        while True:
            os.write(2, b"x" * 2**20)


class Forks(Good):
    """Leaves a child that sleeps, and that holds whatever the worker had open."""

    def forward(self, x: Tensor) -> Tensor:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
        return super().forward(x)


class ForksAndCrashes(Forks):
    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        os.abort()


class Killed(Good):
    """As if somebody else, or Linux out of memory, had killed its worker."""

    def forward(self, x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return x


class Slow(Good):
    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.5)
        return super().forward(x)


KEPT: list[Tensor] = []


class Keeps(Good):
    """Takes memory once, 300 MiB, and never gives it back."""

    def forward(self, x: Tensor) -> Tensor:
        if not KEPT:
            KEPT.append(torch.ones(75 * 2**20))
        return super().forward(x)


class WrongShape(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


class Nan(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).log()


class NanGradient(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mul(0).sqrt() + super().forward(x)


class Constant(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0 + 3


class IgnoresInput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight + 0 * x


class Detached(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class DeadWeight(Good):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.unused = nn.Parameter(torch.ones(1))


class ZeroGradient(DeadWeight):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * self.unused


class LeaksForward(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).cumsum(0)


class LeaksBackward(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flip(0).cumsum(0).flip(0)


class Random(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(1)


class Identity(nn.Module):
    """Claims much work and does none."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class Cheat(Good):
    """Remembers outputs by the input's identity, but only where it thinks that it is timed."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.cache: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        if x.data_ptr() not in self.cache:
            self.cache[x.data_ptr()] = super().forward(x)
        return self.cache[x.data_ptr()]


class Skips(Good):
    """Remembers the output of the last input it met."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.known: tuple[float, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        key = float(x.sum())
        if self.known is None or self.known[0] != key or self.training:
            self.known = (key, super().forward(x))
        return self.known[1]


class Uninitialised(Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.empty_like(x).mul(0)


KINDS: dict[str, type[nn.Module]] = {
    "good": Good,
    "slower": Slower,
    "large": Good,
    "unbuildable": Unbuildable,
    "raising": Raising,
    "untrainable": Untrainable,
    "untimeable": Untimeable,
    "endless": Endless,
    "native_hang": NativeHang,
    "hangs_compiling": HangsCompiling,
    "segfault": Segfault,
    "exiting": Exiting,
    "memory_hog": MemoryHog,
    "slow_memory_hog": SlowMemoryHog,
    "tensor_hog": TensorHog,
    "hog_in_build": HogInBuild,
    "prints": Prints,
    "prints_forever": PrintsForever,
    "forks": Forks,
    "forks_and_crashes": ForksAndCrashes,
    "killed": Killed,
    "slow": Slow,
    "keeps": Keeps,
    "wrong_shape": WrongShape,
    "nan": Nan,
    "nan_gradient": NanGradient,
    "constant": Constant,
    "ignores_input": IgnoresInput,
    "detached": Detached,
    "dead_weight": DeadWeight,
    "zero_gradient": ZeroGradient,
    "leaks_forward": LeaksForward,
    "leaks_backward": LeaksBackward,
    "random": Random,
    "identity": Identity,
    "cheat": Cheat,
    "skips": Skips,
    "uninitialised": Uninitialised,
}
