"""A reward of your own: as fast as possible, with few parameters.

    python examples/own_reward.py

`REWARDS` in `canvas_rl/rewards/base.py` is where a line registers one for `python -m canvas_rl.train --reward NAME`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import gymnasium

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.rewards.base import figures_of


@dataclass(frozen=True)
class SmallAndFast:
    """`min(speedup, 10) / 10`, and in proportion less for a kernel with too many parameters."""

    parameters: int = 50_000
    """sum over the sites above which a kernel earns less"""

    @property
    def range(self) -> tuple[float, float]:
        """From 0, for what failed or has no quality, to 1."""
        return 0.0, 1.0

    @property
    def deterministic(self) -> bool:
        """True: it depends on the measurement alone."""
        return True

    def __call__(self, measurement: Measurement, reference: Measurement) -> float:
        """The reward of a kernel."""
        figures = figures_of(measurement)
        if figures is None or figures[0] <= 0:
            return self.range[0]
        count = sum(site.params for site in measurement.sites)
        return min(figures[1], 10.0) / 10.0 * min(1.0, self.parameters / max(count, 1))

    def to_json(self) -> dict[str, Any]:
        """The spec from which `make_reward` makes it again."""
        return {"name": "small_and_fast", **asdict(self)}


def main() -> None:
    """Build kernels by random legal actions and say what they earn."""
    env = gymnasium.make(
        "envs:canvas_rl/KernelConstruction-v0", reward=SmallAndFast(), options={"num_primitive_range": (2, 6)}
    )
    for episode in range(5):
        _, info = env.reset(seed=episode)
        env.action_space.seed(episode)
        terminated, reward = False, 0.0
        while not terminated:
            action = env.action_space.sample(info["action_mask"].astype("int8"))
            _, reward, terminated, _, info = env.step(action)
        print(f"{reward:.3f}  {', '.join(info['kernel'].families)}")


if __name__ == "__main__":
    main()
