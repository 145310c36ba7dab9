"""The default reward: MnasNet's product of quality and latency."""

from dataclasses import asdict, dataclass
from typing import Any

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.rewards.base import figures_of

_MOST_QUALITY_RATIO = 1.1


@dataclass(frozen=True)
class MnasNet:
    """`(quality / reference quality)^alpha * (latency / reference latency)^beta` (Tan et al. 2019, eq. 2).

    The replaced convolution itself has 1. The quality ratio is clipped at 1.1, the latency ratio from below at
    `fastest` and from above at its inverse. With the defaults, twice the speed is worth two points of quality (four
    times: four). Dividing by the reference's quality scales all rewards of a run alike.
    """

    alpha: float = 8.0
    """exponent of the quality ratio, above 0"""
    beta: float = -0.25
    """exponent of the latency ratio, at most 0"""
    fastest: float = 0.1
    """latency ratio below which speed earns nothing more"""

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 16:
            raise ConfigError(f"alpha is {self.alpha}: expected an exponent above 0, at most 16")
        if not -4 <= self.beta <= 0:
            raise ConfigError(f"beta is {self.beta}: expected an exponent from -4 to 0 (shorter latencies earn more)")
        if not 0 < self.fastest <= 1:
            raise ConfigError(f"fastest is {self.fastest}: expected a latency ratio above 0, at most 1")

    @property
    def range(self) -> tuple[float, float]:
        """From 0 to what the clipped ratios give."""
        return 0.0, float(_MOST_QUALITY_RATIO**self.alpha * self.fastest**self.beta)

    @property
    def deterministic(self) -> bool:
        """True: a function of the two measurements."""
        return True

    def __call__(self, measurement: Measurement, reference: Measurement) -> float:
        """The reward; 0 for a failed kernel."""
        figures = figures_of(measurement)
        target = figures_of(reference)
        if figures is None or target is None or target[0] <= 0:
            return self.range[0]
        quality, speedup = figures
        quality_ratio = min(quality / target[0], _MOST_QUALITY_RATIO)
        latency_ratio = min(max(1 / max(speedup, 1e-9), self.fastest), 1 / self.fastest)
        return float(quality_ratio**self.alpha * latency_ratio**self.beta)

    def to_json(self) -> dict[str, Any]:
        """The spec: name and options."""
        return {"name": "mnasnet", **asdict(self)}
