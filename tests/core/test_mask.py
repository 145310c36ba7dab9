"""The mask: one rule with the transition, on every action; the shared checks are those of each action alone."""

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, IllegalActionError
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITES = {"2-D": (Site(16, 8, 8), Site(32, 6, 6)), "1-D": (Site(8, 12), Site(16, 6)), "0-D": (Site(32), Site(64))}
OPTIONS = {
    "short": SearchOptions(num_primitive_range=(2, 6)),
    "any resolution": SearchOptions(num_primitive_range=(3, 7), ensure_spatial_invariance=False),
    "budgets": SearchOptions(num_primitive_range=(2, 6), flops_budget=0.6, params_budget=0.7, memory_budget=12.0),
    "forced bmm": SearchOptions(num_primitive_range=(3, 7), force_bmm_possibility=1.0),
    "weighted": SearchOptions(num_primitive_range=(4, 6), num_weighted_range=(2, 2), max_weighted_ratio=0.5),
    "no arithmetic": SearchOptions(num_primitive_range=(2, 6), allowed_filter="fc,conv,relu,shift"),
}
FIELDS = {
    "receptive": SearchOptions(num_primitive_range=(2, 6), min_receptive_size=20),
    "necessary": SearchOptions(num_primitive_range=(4, 8), necessary_filter="unfold,bmm,fc"),
}
CASES = [(sites, OPTIONS[name]) for sites in SITES for name in OPTIONS] + [("2-D", FIELDS[name]) for name in FIELDS]
IDS = [f"{sites}-{name}" for sites in SITES for name in OPTIONS] + [f"2-D-{name}" for name in FIELDS]


def states(space, rng, programs):
    """States along random programs."""
    for _ in range(programs):
        state = space.start(space.draw_limits(rng, exact_length=True))
        while not state.done:
            yield state
            state = space.step(state, space.random_action(state, rng))


@pytest.mark.parametrize(("sites", "options"), CASES, ids=IDS)
def test_the_mask_equals_is_legal_on_every_action_along_random_programs(sites, options):
    space = SearchSpace(SITES[sites], options)
    alone, rng = SearchSpace(SITES[sites], options), np.random.default_rng(0)
    for state in states(space, rng, 2):
        mask, other = space.mask(state), alone.replay(state.program, state.limits)
        assert [alone.is_legal(other, action) for action in range(len(mask))] == mask.tolist()


def test_a_state_of_another_space_is_refused():
    space, other = (SearchSpace(SITES["2-D"], OPTIONS["short"]) for _ in range(2))
    with pytest.raises(ConfigError, match="another search space"):
        space.mask(other.start())


@pytest.mark.parametrize(("sites", "options"), CASES, ids=IDS)
def test_what_is_legal_the_rules_allow(sites, options):
    space, rng = SearchSpace(SITES[sites], options), np.random.default_rng(1)
    for state in list(states(space, rng, 2))[::2]:
        for action in np.flatnonzero(space.mask(state)):
            after = space.move(state, int(action))
            assert after is not None
            assert repr(after.nodes) == repr(space.step(state, int(action)).nodes)


def test_stepping_leaves_the_state_as_it_was():
    space, rng = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(2, 5))), np.random.default_rng(3)
    for state in states(space, rng, 2):
        before = repr((state.nodes, state.stack, state.program))
        space.mask(state)
        space.step(state, space.random_action(state, rng))
        assert repr((state.nodes, state.stack, state.program)) == before


def test_nothing_is_legal_after_the_end():
    space = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(1, 5), max_weighted_ratio=1.0))
    state = space.replay(["fc(C)", "output(1)"])
    assert state.done
    assert not space.mask(state).any()
    with pytest.raises(IllegalActionError, match="finished"):
        space.step(state, 0)


def test_a_way_to_the_end_keeps_to_the_group_count_in_use():
    """All that is left is a Group, and the kernel has used a count.

    Its second Scale makes no sense and is legal as the only way out, so families that might offer another are left out.
    """
    options = SearchOptions(
        kernel_sizes=(5, 7, 9), shift_sizes=(2, 3), num_primitive_range=(11, 11), num_max_width_range=(4, 4),
        num_weighted_range=(3, 3), max_weighted_ratio=1.0, flops_budget=0.2,
        allowed_filter="relu,softmax,scale,group,fold,bmax,shift",
    )  # fmt: skip
    space = SearchSpace((Site(24),), options)
    state = space.start()
    for name in ("relu", "softmax(0.C)", "scale(0.C)", "group(0,4)", "fold(0.G,max)", "scale(0.C)", "group(0,x)",
                 "scale(0.C)", "push(1)", "max(under->top)", "shift(0.C,+3)"):  # fmt: skip
        state = space.step(state, space.actions.index(name))
    legal = np.flatnonzero(space.mask(state))
    assert not {"group(0,2)", "group(0,8)"} & {space.actions[action] for action in legal}
    assert all(space.step(state, int(action)).primitives >= state.primitives for action in legal)


def test_what_only_a_pointless_output_could_follow_is_explained():
    space = SearchSpace((Site(8, 8, 8),), SearchOptions(num_primitive_range=(1, 3)))
    rng, found = np.random.default_rng(0), set()
    for state in states(space, rng, 40):
        found |= {space.explain(state, action) for action in np.flatnonzero(~space.mask(state))}
    assert not [sentence for sentence in found if "None" in sentence]
    assert any("only the output could follow" in sentence for sentence in found)
