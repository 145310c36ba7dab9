"""What two calls timed in turn tell: their latencies, the ratio, and how well it is known."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import nn

PROMISED_NOISE = 0.005
"""Relative error of the ratio up to which a timing needs no note."""

Call = Callable[[torch.Tensor], torch.Tensor]


class Timed(NamedTuple):
    """What is timed: a call, and the module behind it, whose weights may be moved."""

    call: Call
    module: nn.Module


@dataclass(frozen=True)
class PairTiming:
    """Latencies of a candidate and its reference, timed in turn."""

    latency_s: float
    reference_latency_s: float
    rounds: int
    noise: float
    """relative error of the ratio, estimated from the rounds"""
    note: str = ""
    """what was not as planned, such as a failed graph capture"""
    seconds: float = 0.0
    """that the rounds took"""

    @property
    def speedup(self) -> float:
        """Reference latency over latency."""
        return self.reference_latency_s / self.latency_s


def fastest_of_visits(timings: Sequence[PairTiming]) -> PairTiming:
    """The shortest latencies of several timings of the same pair, made at different times.

    The noise is half the difference between the ratios of every other timing and of the rest.
    """
    if len(timings) == 1:
        return timings[0]
    rounds = Rounds()
    for timing in timings:
        rounds.add(timing.latency_s, timing.reference_latency_s)
    return replace(
        rounds.fastest(),
        rounds=sum(timing.rounds for timing in timings),
        seconds=math.fsum(timing.seconds for timing in timings),
    )


@dataclass
class Rounds:
    """Seconds of a candidate and of its reference, round by round."""

    own: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.own)

    def add(self, own_s: float, other_s: float) -> None:
        """One more round; what a clock can't tell from nothing counts as a picosecond."""
        self.own.append(max(own_s, 1e-12))
        self.other.append(max(other_s, 1e-12))

    def medians(self, *notes: str) -> PairTiming:
        """The median latencies; a note says where the noise is more than was promised."""
        own, other = statistics.median(self.own), statistics.median(self.other)
        return self._timing(own, other, self.noise, notes)

    def fastest(self) -> PairTiming:
        """The shortest latencies, which other work on the machine disturbs least.

        The noise is half the difference between the ratios of every other round and of the rest; 1 for a single round.
        """
        if len(self) == 1:
            return PairTiming(self.own[0], self.other[0], 1, 1.0, "too slow to be timed more than once")
        even, odd = (min(self.own[part::2]) / min(self.other[part::2]) for part in range(2))
        return self._timing(min(self.own), min(self.other), abs(math.log(even / odd)) / 2)

    @property
    def noise(self) -> float:
        """Relative standard error of the median ratio (1.25 sigma / sqrt(n), sigma from the median deviation)."""
        logs = [math.log(own / other) for own, other in zip(self.own, self.other, strict=True)]
        middle = statistics.median(logs)
        deviation = 1.4826 * statistics.median(abs(value - middle) for value in logs)
        return 1.2533 * deviation / math.sqrt(len(logs))

    def _timing(self, own: float, other: float, noise: float, notes: tuple[str, ...] = ()) -> PairTiming:
        missed = f"the noise is {noise:.1%}, above the {PROMISED_NOISE:.1%} aimed at" if noise > PROMISED_NOISE else ""
        return PairTiming(own, other, len(self), noise, "; ".join(filter(None, (*notes, missed))))
