"""The mask: one rule with the transition, on every action; the shared checks are those of each action alone."""

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.errors import IllegalActionError
from canvas_rl.primitives import FAMILIES, FamilyContext
from canvas_rl.space import SearchSpace
from canvas_rl.space.finish import Finisher
from canvas_rl.space.legality import Legality
from canvas_rl.space.memo import Memo
from canvas_rl.space.moves import MAX_ARITY
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
        mask = space.mask(state)
        assert [alone.is_legal(state, action) for action in range(len(mask))] == mask.tolist()


@pytest.mark.parametrize(("sites", "options"), CASES, ids=IDS)
def test_each_verdict_is_the_one_found_without_sharing_checks(sites, options):
    space, rng = SearchSpace(SITES[sites], options), np.random.default_rng(1)
    for state in list(states(space, rng, 2))[::4]:
        mask = space.mask(state)
        for action in rng.choice(len(mask), 40, replace=False):
            fresh = Legality(space.machine, Finisher(space.machine), state)
            assert isinstance(fresh.plan(int(action)), tuple) == mask[action]


def test_a_plan_finishes_the_kernel():
    space, rng = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(3, 7))), np.random.default_rng(2)
    planned = 0
    for state in states(space, rng, 4):
        for action in rng.permutation(np.flatnonzero(space.mask(state)))[:10]:
            after = space.step(state, int(action))
            if not after.plan:
                continue
            planned += 1
            for index in after.plan:
                after = space.step(after, index)
            assert space.step(after, space.actions.index("output(1)")).done
    assert planned > 20


def test_stepping_leaves_the_state_as_it_was():
    space, rng = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(2, 5))), np.random.default_rng(3)
    for state in states(space, rng, 2):
        before = repr(state)
        space.mask(state)
        space.step(state, space.random_action(state, rng))
        assert repr(state) == before


def test_nothing_is_legal_after_the_end():
    space = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(1, 5), max_weighted_ratio=1.0))
    state = space.replay(["fc(C)", "output(1)"])
    assert state.done
    assert not space.mask(state).any()
    with pytest.raises(IllegalActionError, match="finished"):
        space.step(state, 0)


def test_templates_have_at_most_two_operands():
    context = FamilyContext(SearchOptions(), 2, (2, 4))
    templates = [template for family in FAMILIES for template in family.templates(context)]
    assert {template.arity for template in templates} == set(range(1, MAX_ARITY + 1))


def test_a_memo_keeps_the_latest_values():
    memo, made = Memo(2), []

    def value(key):
        return memo.get(key, lambda: made.append(key) or key)

    assert [value(key) for key in "abacab"] == list("abacab")
    assert "".join(made) == "abcb"
