"""The mask against the transition, for every action of random unfinished programs.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

from collections import Counter

import numpy as np
import pytest
from drawing import for_all, seeds, space, spaces

from canvas_rl.errors import IllegalActionError
from canvas_rl.ir import verify
from canvas_rl.space import State


def unfinished(number: int, seed: int) -> State:
    """The state after some of the actions of a random program."""
    rng, chosen = np.random.default_rng([number, seed]), space(number)
    state = chosen.start(chosen.draw_limits(rng, exact_length=bool(rng.random() < 0.5)))
    states = [state]
    while not state.done:
        state = chosen.step(state, chosen.random_action(state, rng))
        states.append(state)
    return states[rng.integers(len(states) - 1)]


def test_the_mask_and_the_transition_agree_on_every_action(tally: Counter[str]) -> None:
    @for_all(tally, spaces, seeds)
    def check(number: int, seed: int) -> None:
        chosen, state = space(number), unfinished(number, seed)
        for action, legal in enumerate(chosen.mask(state)):
            tally["actions"] += 1
            tally["legal"] += bool(legal)
            assert chosen.is_legal(state, action) == legal
            if not legal:
                with pytest.raises(IllegalActionError):
                    chosen.step(state, action)
                continue
            after = chosen.step(state, action)
            assert after.program == (*state.program, chosen.actions[action])
            if after.graph is not None:
                verify(after.graph)
