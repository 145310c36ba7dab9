"""The mask does not hide the space: what it reaches of all kernels that the rules alone allow, in small spaces."""

from collections.abc import Iterator

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace, State
from canvas_rl.symbolic.site import Site

SPACES = {
    "fc,unfoldh,fold": 4,
    "fold,badd,fc": 3,
    "group,fc,badd,relu": 3,
    "mix,fold,relu": 3,
    "unfoldhw,fold,bmul,fc,relu": 3,
    "bmm,softmax,fc": 3,
    "unfoldhw,bmm,relu,scale": 3,
    "scale,unfoldh,unfoldw,fold": 4,
    "fold,badd,relu,scale": 3,
    "bmm,fc,relu": 3,
}


def small_space(families: str, length: int) -> SearchSpace:
    options = SearchOptions(
        allowed_filter=families,
        num_primitive_range=(1, length),
        num_max_width_range=(2, 2),
        num_weighted_range=(0, length),
        max_weighted_ratio=1.0,
        kernel_sizes=(3,),
        dilated_sizes=(1,),
        shift_sizes=(1,),
    )
    return SearchSpace([Site(16, 8, 8), Site(32, 4, 4)], options)


def masked_steps(space: SearchSpace, state: State) -> Iterator[State]:
    return (space.step(state, int(action)) for action in np.flatnonzero(space.mask(state)))


def possible_steps(space: SearchSpace, state: State) -> Iterator[State]:
    """All that the rules allow and that makes sense, whether or not the kernel can be finished afterwards."""
    for action in range(len(space.actions)):
        if not space.is_senseless(state, action) and (after := space.move(state, action)) is not None:
            yield after


def kernels(space: SearchSpace, steps, start: State) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        for after in steps(space, waiting.pop()):
            if after.graph is not None:
                found.add(after.graph.hash)
            else:
                waiting.append(after)
    return found


@pytest.mark.parametrize("families", SPACES)
def test_the_mask_reaches_almost_every_kernel_that_the_rules_allow(families):
    space = small_space(families, SPACES[families])
    every = kernels(space, possible_steps, space.start())
    reached = kernels(space, masked_steps, space.start())
    assert reached <= every
    assert len(reached) >= 0.95 * len(every), f"{len(reached)} of {len(every)}"
