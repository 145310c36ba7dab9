"""What a reward is, and the registry of rewards."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.registry import Registry, did_you_mean

REWARDS = Registry(
    "reward",
    {
        "mnasnet": "canvas_rl.rewards.mnasnet:MnasNet",
        "latency_under_quality": "canvas_rl.rewards.constrained:LatencyUnderQuality",
    },
)


class Reward(Protocol):
    """Turns a measurement into a number.

    Every reward is bounded, grows with quality and with speedup (or stays), gives failed measurements the lowest
    value of its range, and never looks at the test split.
    """

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value it can have."""

    @property
    def deterministic(self) -> bool:
        """Whether equal measurements give equal rewards."""

    def __call__(self, measurement: Measurement, reference: Measurement) -> float:
        """The reward of a kernel, given the replaced convolution's measurement."""

    def to_json(self) -> dict[str, Any]:
        """The spec from which `make_reward` makes it again."""


def make_reward(spec: str | Mapping[str, Any] = "mnasnet") -> Reward:
    """A reward from its name, or from a spec: `{"name": ..., option: value, ...}`.

    Raises:
        UnknownNameError: no such reward.
        ConfigError: no such option, or a value that can't be used.
    """
    values = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = values.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"the reward spec {dict(values)} has no name: expected one of {', '.join(REWARDS.names())}")
    kind = REWARDS.get(name)
    known = [item.name for item in fields(kind)]
    for option in values:
        if option not in known:
            expected = f"expected one of {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"the reward {name!r} has no option {option!r}: {expected}.{did_you_mean(option, known)}")
    reward: Reward = kind(**values)
    return reward


def figures_of(measurement: Measurement) -> tuple[float, float] | None:
    """Quality within 0 and 1, and speedup; None where the measurement failed or has not both."""
    if not measurement.ok or measurement.quality is None or measurement.speedup is None:
        return None
    return min(max(measurement.quality, 0.0), 1.0), measurement.speedup
