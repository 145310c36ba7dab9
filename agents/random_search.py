"""The random agent: kernels drawn from the search space, family first, lengths evenly. The baseline of all others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.options import require_positive
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Session


@dataclass(frozen=True)
class RandomConfig:
    """Options of the random agent."""

    kernels_per_round: int = 16
    """kernels drawn between two checkpoints"""

    def __post_init__(self) -> None:
        require_positive(self, "kernels_per_round")


class RandomAgent(AskTellAgent):
    """Draws kernels without learning."""

    config_type = RandomConfig

    def begin(self, session: Session) -> None:
        """Nothing to prepare."""

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """Draw kernels, new ones where that is possible."""
        return self.fill(rng, self.config.kernels_per_round)

    def tell(self, judged: Sequence[Judged]) -> None:
        """Nothing is learned."""

    def state(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing was kept."""
