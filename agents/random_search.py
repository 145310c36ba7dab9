"""The random agent: kernels drawn from the search space, family first, lengths evenly. The baseline of all others."""

from dataclasses import dataclass

import numpy as np

from canvas_rl.errors import ConfigError
from canvas_rl.session import Session, Snapshot


@dataclass(frozen=True)
class RandomConfig:
    """Options of the random agent."""

    kernels_per_round: int = 16
    """kernels drawn between two checkpoints"""

    def __post_init__(self) -> None:
        if self.kernels_per_round < 1:
            raise ConfigError(f"kernels_per_round is {self.kernels_per_round}: expected at least 1")


class RandomAgent:
    """Draws kernels without learning."""

    config_type = RandomConfig

    def __init__(self, config: RandomConfig) -> None:
        self.config = config

    def run(self, session: Session) -> None:
        """Draw and judge kernels until the session is over; every round has a generator of its own."""
        finished = int(session.restored.state["rounds"]) if session.restored else 0
        while True:
            rng = np.random.default_rng([session.seed, finished])
            session.judge([session.space.sample(rng) for _ in range(self.config.kernels_per_round)])
            finished += 1
            session.checkpoint(Snapshot({"rounds": finished}))
