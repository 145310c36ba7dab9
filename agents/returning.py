"""Episodes that begin where a good kernel once was: "First return, then explore" (Ecoffet et al. 2021, Go-Explore)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
_RELATED = 0.5


class Script:
    """The first actions of an episode, given: known ones, then one drawn evenly from those that are legal.

    Args:
        actions: the known ones; the first that is illegal ends the script early.
        last: which actions the last one may be, [actions].
        rng: draws the last one.
    """

    def __init__(self, actions: Sequence[int], last: Mask, rng: np.random.Generator) -> None:
        self._left = list(reversed(actions))
        self._last, self._rng = last, rng
        self._over = False

    def next(self, mask: Mask) -> int | None:
        """The action to take under this mask, [actions]; None once the script is over."""
        if self._over:
            return None
        if self._left:
            action = self._left.pop()
            self._over = not mask[action]
            return None if self._over else action
        self._over = True
        candidates = np.flatnonzero(mask & self._last)
        return int(self._rng.choice(candidates)) if len(candidates) else None


def draw_script(programs: Sequence[Sequence[int]], family_of: np.ndarray[Any, Any], rng: np.random.Generator) -> Script:
    """A script that leaves one of these programs of actions at a place drawn evenly.

    There it takes any action, or half of the time one of the same family, of which there are fewer.

    Args:
        programs: the best first; the better of two drawn ones is taken.
        family_of: the number of each action's family, [actions].
        rng: draws program and place, and the script's last action.
    """
    program = programs[int(rng.integers(len(programs), size=2).min())]
    place = int(rng.integers(len(program)))
    related = family_of == family_of[program[place]]
    return Script(program[:place], related if rng.random() < _RELATED else np.ones_like(related), rng)
