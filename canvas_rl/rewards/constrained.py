"""A reward with a hard line: speed counts once the quality is good enough."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.rewards.base import figures_of


@dataclass(frozen=True)
class LatencyUnderQuality:
    """Below `reference quality - tolerance`: quality / that line, from 0 to 1. On and above it: 1 to 2, by speed.

    The speed part is 0 at `1 / most_speedup`, a half at the reference's latency and 1 at `most_speedup`, linear in
    the logarithm.
    """

    tolerance: float = 0.03
    """quality that may be lost"""
    most_speedup: float = 10.0
    """speedup above which speed earns nothing more"""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"tolerance is {self.tolerance}: expected a loss of quality from 0 to below 1")
        if not 1 < self.most_speedup <= 1e6:
            raise ConfigError(f"most_speedup is {self.most_speedup}: expected a speedup above 1, at most 1e6")

    @property
    def range(self) -> tuple[float, float]:
        """From 0 to 2."""
        return 0.0, 2.0

    @property
    def deterministic(self) -> bool:
        """True: a function of the two measurements."""
        return True

    def __call__(self, measurement: Measurement, reference: Measurement) -> float:
        """The reward; 0 for a failed kernel."""
        figures = figures_of(measurement)
        target = figures_of(reference)
        if figures is None or target is None:
            return self.range[0]
        quality, speedup = figures
        line = target[0] - self.tolerance
        if quality < line:
            return quality / line
        speed = math.log(max(speedup, 1e-9)) / math.log(self.most_speedup)
        return 1 + (min(max(speed, -1.0), 1.0) + 1) / 2

    def to_json(self) -> dict[str, Any]:
        """The spec: name and options."""
        return {"name": "latency_under_quality", **asdict(self)}
