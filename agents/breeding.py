"""What agents with a population share: random kernels until it is full, then children of its members."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.programs import Genetics
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Session
from canvas_rl.space import State

_TRIES = 300


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
    def breed(self, rng: np.random.Generator) -> State | None:
        """The finished program of a child; None if this one came to nothing."""

    def recall(self, graph: KernelGraph) -> bool:
        """Hear of a child that was asked for before; whether that changes who may breed."""
        return False

    def exhausted(self) -> None:
        """Hear that no new child is found."""

    def propose(self, rng: np.random.Generator, asked: Sequence[KernelGraph]) -> KernelGraph:
        """A child that was not asked for before; a random kernel while the population grows, or if none is found."""
        tries = 0 if self.full else _TRIES
        while tries < _TRIES:
            tries, program = tries + 1, self.breed(rng)
            if program is None:
                continue
            if self.is_new(child := self.space.kernel(program), asked):
                return child
            if self.recall(child):
                tries = 0
        if self.full:
            self.exhausted()
        return self.sample(rng, asked)
