"""All kernels of a small search space."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from canvas_rl.ir import KernelGraph
from canvas_rl.space.search_space import SearchSpace
from canvas_rl.space.state import Limits


def every_limits(space: SearchSpace) -> tuple[Limits, ...]:
    """All limits that a search may set for one kernel within the options, and for which there is one; widest first."""
    options = space.options
    least, most = options.num_primitive_range
    narrowest, widest = options.num_max_width_range
    forced = sorted({options.force_bmm_possibility > 0, options.force_bmm_possibility == 1})
    found = (
        Limits(low, high, width, bmm)
        for bmm, width, high in product(forced, range(widest, narrowest - 1, -1), range(most, least - 1, -1))
        for low in range(least, high + 1)
    )
    return tuple(limits for limits in found if space.can_start(limits))


def enumerate_kernels(space: SearchSpace) -> Iterator[KernelGraph]:
    """Every kernel that can be built in a search space, each canonical hash once, in an order that never changes.

    Depth first over the legal actions, under all limits that a search may draw: the widest alone are not enough, since
    an action that makes no sense is legal where a narrower limit leaves nothing else. Unfinished programs are not
    merged, so the time grows with the number of programs: about a second for 5,000 at each limits.

    Args:
        space: a small one; the default space has more kernels than can be counted.
    """
    seen: set[str] = set()
    for limits in every_limits(space):
        for graph in _within(space, limits):
            if graph.hash not in seen:
                seen.add(graph.hash)
                yield graph


def _within(space: SearchSpace, limits: Limits) -> Iterator[KernelGraph]:
    """The kernel of every program that is legal under limits, with repeats."""
    states = [space.start(limits)]
    while states:
        state = states.pop()
        if state.graph is not None:
            yield state.graph
            continue
        states += [space.step(state, int(action)) for action in np.flatnonzero(space.mask(state))[::-1]]
