"""Enumeration finds every kernel of a small space, once, in one order."""

from itertools import product

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.space import Limits, SearchSpace, enumerate_kernels, every_limits
from canvas_rl.symbolic.site import Site

SITES = (Site(8, 4, 4), Site(16, 2, 2))
SMALL = {"num_max_width_range": (2, 2), "max_weighted_ratio": 1.0, "shift_sizes": (1,), "kernel_sizes": (3,)}


def make_space(allowed: str, most: int, **options: object) -> SearchSpace:
    return SearchSpace(SITES, SearchOptions(allowed, num_primitive_range=(1, most), **{**SMALL, **options}))


def by_trying_all_programs(space: SearchSpace, longest: int) -> set[str]:
    """Hashes of what every sequence of actions makes that is legal under some limits."""
    found = set()
    for limits in every_limits(space):
        unfinished = {(): space.start(limits)}
        for length in range(longest):
            longer = {}
            for program, action in product(unfinished, range(len(space.actions))):
                state = unfinished[program]
                if space.is_legal(state, action):
                    following = space.step(state, action)
                    if following.graph is not None:
                        found.add(following.graph.hash)
                    else:
                        longer[*program, action] = following
            unfinished = longer
            assert length < longest - 1 or not unfinished
    return found


@pytest.mark.parametrize(("allowed", "most"), [("fc,relu", 2), ("fc,group,badd", 2), ("unfoldhw,fold,relu", 2)])
def test_equals_what_trying_all_programs_finds(allowed, most):
    space = make_space(allowed, most, num_weighted_range=(0, 2), num_max_width_range=(1, 2))
    kernels = list(enumerate_kernels(space))
    assert len(kernels) > 3
    assert {graph.hash for graph in kernels} == by_trying_all_programs(space, 8)


@pytest.mark.parametrize("options", [{}, {"necessary_filter": "fc"}, {"force_bmm_possibility": 0.5}])
def test_holds_whatever_is_drawn(options):
    space = make_space("fc,shift,relu,bmul,bmm", 2, **options)
    known = {graph.hash for graph in enumerate_kernels(space)}
    rng, drawn = np.random.default_rng(0), set()
    for _ in range(2000):
        drawn.add(space.sample(rng, space.draw_limits(rng)).hash)
        drawn.add(space.sample(rng).hash)
    assert drawn <= known
    assert len(drawn) > len(known) / 2


def test_holds_what_only_narrower_limits_allow():
    space = make_space("fc,shift", 3, necessary_filter="fc")
    program = ("shift(0.C,+1)", "fc(C)", "output(1)")
    narrow = space.replay(program, Limits(1, 2, 2)).graph
    assert not space.is_legal(space.replay(program[:1]), space.actions.index("fc(C)"))
    assert narrow in list(enumerate_kernels(space))


def test_each_kernel_comes_once_and_in_the_same_order():
    programs = [[graph.program for graph in enumerate_kernels(make_space("fc,group,relu", 3))] for _ in range(2)]
    hashes = [graph.hash for graph in enumerate_kernels(make_space("fc,group,relu", 3))]
    assert programs[0] == programs[1]
    assert len(set(hashes)) == len(hashes) == len(programs[0])


def test_limits_are_those_that_a_search_can_draw():
    space = make_space("fc,relu,bmm", 3, force_bmm_possibility=0.5)
    limits, rng = every_limits(space), np.random.default_rng(0)
    assert limits[0] == Limits(1, 3, 2)
    assert {space.draw_limits(rng) for _ in range(100)} <= set(limits)
    assert {space.draw_limits(rng, exact_length=True) for _ in range(100)} <= set(limits)
