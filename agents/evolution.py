"""Regularised evolution (Real et al. 2019): the best of a sample has a child, and the oldest dies."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.breeding import BreedingAgent
from agents.options import require_above, require_positive
from canvas_rl.errors import ConfigError
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Session
from canvas_rl.space import State


@dataclass(frozen=True)
class EvolutionConfig:
    """Options of regularised evolution."""

    population: int = 64
    """kernels alive: the newest"""
    tournament: int = 16
    """kernels drawn from the population, the best of which is the parent"""
    edits: float = 1.5
    """edits of a child, on average"""
    kernels_per_round: int = 8
    """children judged together"""

    def __post_init__(self) -> None:
        require_positive(self, "population", "tournament", "kernels_per_round")
        require_above(self, 0, "edits")
        if self.tournament > self.population:
            raise ConfigError(f"tournament is {self.tournament}: expected at most the population, {self.population}")


class _Member(NamedTuple):
    """A kernel that may have children."""

    program: tuple[str, ...]
    reward: float


class EvolutionAgent(BreedingAgent):
    """Mutates good programs; ageing keeps one lucky measurement from taking over."""

    config_type = EvolutionConfig

    def begin(self, session: Session) -> None:
        """An empty population."""
        super().begin(session)
        self._alive: deque[_Member] = deque(maxlen=self.config.population)

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """Random kernels until the population is full, then children."""
        return self.fill(rng, self.config.kernels_per_round)

    def tell(self, judged: Sequence[Judged]) -> None:
        """Kernels join the population, and the oldest leave it."""
        self._alive.extend(_Member(graph.program, outcome.reward) for graph, outcome in judged if not outcome.repeated)

    def state(self) -> dict[str, Any]:
        """The population, the oldest first."""
        return {"alive": [[list(member.program), member.reward] for member in self._alive]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the population."""
        self._alive.extend(_Member(tuple(program), float(reward)) for program, reward in state["alive"])

    @property
    def full(self) -> bool:
        """Whether the population is complete."""
        return bool(len(self._alive) == self.config.population)

    def breed(self, rng: np.random.Generator) -> State:
        """A mutant of the best of a sample."""
        drawn = rng.choice(len(self._alive), self.config.tournament, replace=False)
        parent = max((self._alive[index] for index in drawn), key=lambda member: member.reward)
        mutant = self._genetics.mutate(self._genetics.genome(parent.program), rng, self.config.edits)
        return self._genetics.grow(mutant, rng)
