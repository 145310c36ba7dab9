"""The loop of agents that propose kernels in rounds: what is left to each is `ask` and `tell`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from canvas_rl.errors import FormatError
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Session, Snapshot

_TRIES = 50


class AskTellAgent(ABC):
    """An agent that is asked for kernels, told what they earned, and asked again.

    Every round draws from a generator seeded with (seed, round), so that what `state` returns and the number of rounds
    are all there is to save. Kernels asked for before are known by their hash.

    Args:
        config: an instance of `config_type`.
    """

    config_type: ClassVar[type[Any]]
    version: ClassVar[int] = 1
    """counts up whenever what `state` returns changes"""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self, session: Session) -> None:
        """Ask, judge and tell until the session is over.

        Raises:
            FormatError: the session was restored from something that this version of the agent did not save.
        """
        self.space = session.space
        self.known: set[str] = set()
        self.begin(session)
        rounds = self._restore(session.restored) if session.restored else 0
        if session.warm_start:
            self._learn(session.warm_start)
        while True:
            asked = self.ask(np.random.default_rng([session.seed, rounds]))
            self._learn(tuple(map(Judged, asked, session.judge(asked))))
            rounds += 1
            state = {"rounds": rounds, "known": sorted(self.known), **self.state()}
            session.checkpoint(Snapshot(state, version=self.version))

    @abstractmethod
    def begin(self, session: Session) -> None:
        """Start from nothing."""

    @abstractmethod
    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """The kernels of the next round."""

    def fill(self, rng: np.random.Generator, count: int) -> list[KernelGraph]:
        """So many kernels, proposed one after the other."""
        asked: list[KernelGraph] = []
        while len(asked) < count:
            asked.append(self.propose(rng, asked))
        return asked

    def propose(self, rng: np.random.Generator, asked: Sequence[KernelGraph]) -> KernelGraph:
        """One more kernel of a round: a random one, unless an agent knows better."""
        return self.sample(rng, asked)

    @abstractmethod
    def tell(self, judged: Sequence[Judged]) -> None:
        """Learn what kernels earned: those of a round, or known operators."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was learned, JSON-ready."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; a KeyError, TypeError or ValueError says that it did not."""

    def is_new(self, graph: KernelGraph, asked: Sequence[KernelGraph]) -> bool:
        """Whether a kernel was not asked for before, this round included."""
        return graph.hash not in self.known and all(graph.hash != other.hash for other in asked)

    def sample(self, rng: np.random.Generator, asked: Sequence[KernelGraph]) -> KernelGraph:
        """A random kernel, a new one if that can be found."""
        for _ in range(_TRIES):
            graph = self.space.sample(rng)
            if self.is_new(graph, asked):
                break
        return graph

    def _learn(self, judged: Sequence[Judged]) -> None:
        self.known.update(graph.hash for graph, _ in judged)
        self.tell(judged)

    def _restore(self, saved: Snapshot) -> int:
        saved.check_version(self.version)
        try:
            self.known = set(saved.state["known"])
            self.restore(saved.state)
            return int(saved.state["rounds"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"the checkpoint is damaged or was made by another agent ({error!r}): delete it to use the one before, "
                "or start a new run"
            ) from error
