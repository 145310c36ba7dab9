"""What agents with a population share: random kernels until it is full, then children of its members."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.programs import Genetics, Genome
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Session

_TRIES = 50


class BreedingAgent(AskTellAgent):
    """An agent whose kernels are children of a population; what is left to each is whom it keeps and how it breeds."""

    def begin(self, session: Session) -> None:
        """Know the search space's genomes."""
        self._genetics = Genetics(session.space)

    @property
    @abstractmethod
    def full(self) -> bool:
        """Whether the population is complete, so that children may follow."""

    @abstractmethod
    def breed(self, rng: np.random.Generator) -> Genome:
        """The genome of a child."""

    def exhausted(self) -> None:
        """Hear that no new child is found."""

    def propose(self, rng: np.random.Generator, asked: Sequence[KernelGraph]) -> KernelGraph:
        """A child that was not asked for before; a random kernel while the population grows, or if none is found."""
        for _ in range(_TRIES if self.full else 0):
            child = self.space.kernel(self._genetics.grow(self.breed(rng), rng))
            if self.is_new(child, asked):
                return child
        self.exhausted()
        return self.sample(rng, asked)
