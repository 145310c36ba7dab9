"""What two calls timed in turn tell: their latencies, the ratio, and how well it is known."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

Call = Callable[[torch.Tensor], torch.Tensor]


class Timed(NamedTuple):
    """What is timed: a call, and the module behind it, whose weights may be moved."""

    call: Call
    module: nn.Module


@dataclass(frozen=True)
class PairTiming:
    """Median latencies of a candidate and its reference, timed in turn."""

    latency_s: float
    reference_latency_s: float
    rounds: int
    noise: float
    """relative standard error of the ratio, estimated from the rounds' spread"""
    note: str = ""
    """what was not as planned, such as a failed graph capture"""

    @property
    def speedup(self) -> float:
        """Reference latency over latency."""
        return self.reference_latency_s / self.latency_s


@dataclass
class Rounds:
    """Seconds of a candidate and of its reference, round by round."""

    own: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.own)

    def __add__(self, more: "Rounds") -> "Rounds":
        return Rounds(self.own + more.own, self.other + more.other)

    def add(self, own_s: float, other_s: float) -> None:
        """One more round."""
        self.own.append(own_s)
        self.other.append(other_s)

    @property
    def noise(self) -> float:
        """Relative standard error of the median ratio (1.25 sigma / sqrt(n), sigma from the median deviation)."""
        logs = [math.log(max(own, 1e-12) / max(other, 1e-12)) for own, other in zip(self.own, self.other, strict=True)]
        middle = statistics.median(logs)
        deviation = 1.4826 * statistics.median(abs(value - middle) for value in logs)
        return 1.2533 * deviation / math.sqrt(len(logs))

    def timing(self, promised_noise: float, *notes: str) -> PairTiming:
        """The medians; a note says where the noise is more than was promised."""
        own, other = (max(statistics.median(seconds), 1e-12) for seconds in (self.own, self.other))
        noise = self.noise
        missed = f"the noise is {noise:.1%}, above the {promised_noise:.1%} aimed at" if noise > promised_noise else ""
        return PairTiming(own, other, len(self), noise, "; ".join(filter(None, (*notes, missed))))
