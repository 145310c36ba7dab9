"""The stored result of judging a kernel: a status, figures, and how they came about."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Protocol

from canvas_rl.errors import FormatError
from canvas_rl.symbolic.site import Site


class Status(StrEnum):
    """How an evaluation ended: `ok`, or the first check that a kernel failed."""

    OK = "ok"
    TOO_LARGE = "too_large"
    """static cost: its activations alone exceed the memory limit"""
    BUILD_FAILED = "build_failed"
    """the module could not be made"""
    RUN_FAILED = "run_failed"
    """forward or backward raised"""
    WRONG_SHAPE = "wrong_shape"
    """the output's shape is not the input's"""
    NOT_FINITE = "not_finite"
    """an output or a gradient has a NaN or an infinity"""
    CONSTANT_OUTPUT = "constant_output"
    """all elements of the output are equal"""
    IGNORES_INPUT = "ignores_input"
    """the output does not change with the input"""
    DEAD_WEIGHT = "dead_weight"
    """a weight gets no gradient, or one of zeros"""
    MIXES_SAMPLES = "mixes_samples"
    """one sample of a batch changes the output of another"""
    NOT_REPEATABLE = "not_repeatable"
    """the same input gave two different outputs"""
    SKIPS_WORK = "skips_work"
    """it does less for inputs that it has seen before: its latency would mean nothing"""
    UNINITIALISED = "uninitialised"
    """the output depends on memory that nothing was written to"""
    TRAINING_FAILED = "training_failed"
    """the proxy network with this kernel could not be trained"""
    LATENCY_FAILED = "latency_failed"
    """it could not be compiled or timed"""
    OUTPUT_CHANGED = "output_changed"
    """after timing, fresh inputs gave another output than an eager run of a copy"""
    TOO_FAST = "too_fast"
    """timed below what the device can physically do"""
    OUT_OF_MEMORY = "out_of_memory"
    """it asked for more than the memory limit"""
    TIMED_OUT = "timed_out"
    """it ran past the time limit"""
    COMPILE_TIMED_OUT = "compile_timed_out"
    """compiling it took longer than the compile limit"""
    CRASHED = "crashed"
    """its worker process died"""
    SKIPPED = "skipped"
    """never run: predicted to be slower than what is of interest"""

    @property
    def conclusive(self) -> bool:
        """Whether it is known of the kernel alone; others may be due to what else the machine was doing."""
        return self not in (
            Status.OUT_OF_MEMORY,
            Status.TIMED_OUT,
            Status.COMPILE_TIMED_OUT,
            Status.CRASHED,
            Status.SKIPPED,
        )


class Rejection(Exception):
    """A kernel failed a check; ends its evaluation with a status. Never leaves the evaluation package."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class SiteFigures:
    """What was counted and measured at one site. Costs are those of one sample, latencies those of one batch."""

    site: Site
    flops: int
    params: int
    activation: int
    """elements of all primitives' outputs together"""
    latency_s: float | None = None
    """latency of the kernel; None where it was not measured"""
    reference_latency_s: float | None = None
    """latency of the replaced convolution, measured between the kernel's runs"""

    @property
    def speedup(self) -> float | None:
        """Latency of the replaced convolution over the kernel's."""
        if self.latency_s is None or self.reference_latency_s is None:
            return None
        return self.reference_latency_s / self.latency_s

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"site": list(self.site.shape)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SiteFigures":
        """Figures saved by `to_json`."""
        return cls(**(data | {"site": Site(*data["site"])}))


def geometric_speedup(sites: Sequence[SiteFigures]) -> float | None:
    """Geometric mean of the sites' speedups; None where a site has none."""
    ratios = [figures.speedup for figures in sites]
    known = [ratio for ratio in ratios if ratio is not None]
    if not known or len(known) < len(ratios):
        return None
    return math.exp(sum(math.log(ratio) for ratio in known) / len(known))


@dataclass(frozen=True)
class Measurement:
    """The result of evaluating one kernel. Equality ignores the wall time."""

    kernel: str
    """canonical hash of the kernel graph, or `reference`"""
    status: Status
    message: str = ""
    """why it failed, one sentence; empty if it did not"""
    sites: tuple[SiteFigures, ...] = ()
    speedup: float | None = None
    """geometric mean over the sites of reference latency over latency"""
    quality: float | None = None
    """validation accuracy rescaled: 0 is chance, 1 is perfect"""
    accuracy: float | None = None
    """validation accuracy of the proxy network"""
    test_accuracy: float | None = None
    """accuracy on the test split, which no reward sees"""
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    """device, versions, clocks and notes on how it was measured"""
    seed: int = 0
    wall_time_s: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every step of the evaluation succeeded."""
        return self.status is Status.OK

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "status": str(self.status),
            "sites": [figures.to_json() for figures in self.sites],
            "environment": dict(self.environment),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Measurement":
        """A measurement saved by `to_json`.

        Raises:
            FormatError: the data is damaged or of another version.
        """
        try:
            sites = tuple(SiteFigures.from_json(item) for item in data["sites"])
            return cls(**(data | {"status": Status(data["status"]), "sites": sites}))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"a saved measurement can't be read ({error!r}): damaged, or of another version"
            ) from error


class Kernel(Protocol):
    """What the evaluation needs to know of a kernel graph."""

    @property
    def hash(self) -> str:
        """Canonical hash."""

    def to_json(self) -> dict[str, Any]:
        """The graph, from which a worker builds the module again."""


class Evaluator(Protocol):
    """Judges kernels: what environments and agents see of the evaluation."""

    @property
    def fingerprint(self) -> str:
        """Changes with everything that changes figures, except the device."""

    @property
    def reference(self) -> Measurement:
        """The replaced convolution, measured the same way."""

    def evaluate(
        self, graphs: Sequence[Any], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Measurements in the order of `graphs`; `on_result` is called with each new one as soon as it is there."""

    def close(self) -> None:
        """Stop whatever the evaluator started."""
