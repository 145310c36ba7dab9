"""Neighbours of the best kernels, for an agent that learns from good programs whoever wrote them.

A policy that learned to build a kernel rarely leaves it by one action and then goes on as if nothing had happened.
Searching around its best kernels with a genetic operator and letting it imitate what is found is how Mundhenk et al.
2021 ("Symbolic regression via neural-guided genetic programming population seeding") go about the same problem.
"""

import numpy as np

from agents.history import Built, History
from agents.programs import Genetics
from canvas_rl.space import SearchSpace

_TRIES = 20
_BEST = 0.5


class Neighbours:
    """Programs that differ in a gene or a branch from one of the best kernels: half of the time the best of all.

    Args:
        space: the search space.
        history: knows the best kernels, and all that it learned of since it was begun.
    """

    def __init__(self, space: SearchSpace, history: History) -> None:
        self._space, self._history = space, history
        self._genetics = Genetics(space)

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The actions of a program that the history does not know; empty if none was found."""
        elite, known = self._history.elite, self._history.rewards
        for _ in range(_TRIES if elite else 0):
            parent = elite[0 if rng.random() < _BEST else int(rng.integers(len(elite)))]
            genome = self._genetics.genome(self._program(parent))
            program = self._genetics.grow_whole(self._genetics.neighbour(genome, rng), rng)
            if program is not None and self._space.kernel(program).hash not in known:
                return program.actions
        return ()

    def _program(self, built: Built) -> list[str]:
        """Names of its actions; the steps of a kernel of the warm start go through its program several times."""
        names = [self._space.actions[step.action] for step in built.steps]
        families = [self._space.families[self._space.family_of[step.action]] for step in built.steps]
        return names[: families.index("Output") + 1]
