"""The search space: no dead ends, the mask and the transition agree, options are kept, conflicts are named."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, EmptySpaceError, IllegalActionError, PlaceholderError
from canvas_rl.ir import KernelGraph, static_cost, verify
from canvas_rl.space import Limits, SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

RESNET = (Site(64, 56, 56), Site(128, 28, 28), Site(256, 14, 14), Site(512, 7, 7))
SITES = {
    "2-D": (Site(16, 8, 8), Site(32, 6, 6)),
    "odd": (Site(12, 5, 9),),
    "1-D": (Site(8, 12), Site(16, 6)),
    "0-D": (Site(32), Site(64)),
}
OPTIONS = {
    "defaults": SearchOptions(),
    "short": SearchOptions(num_primitive_range=(1, 3)),
    "any resolution": SearchOptions(num_primitive_range=(3, 12), ensure_spatial_invariance=False),
    "budgets": SearchOptions(
        num_primitive_range=(2, 8), flops_budget=0.6, params_budget=0.7, memory_budget=12.0, num_weighted_range=(1, 3)
    ),
    "forced bmm": SearchOptions(num_primitive_range=(3, 9), force_bmm_possibility=0.5),
    "receptive": SearchOptions(num_primitive_range=(2, 9), min_receptive_size=9),
    "necessary": SearchOptions(
        num_primitive_range=(5, 10), necessary_filter="unfold,bmm,fc", num_weighted_range=(2, 4)
    ),
    "weighted": SearchOptions(num_primitive_range=(6, 9), num_weighted_range=(3, 3), max_weighted_ratio=0.5),
    "no arithmetic": SearchOptions(num_primitive_range=(2, 6), allowed_filter="fc,conv,relu,shift"),
    "narrow": SearchOptions(num_primitive_range=(2, 6), num_max_width_range=(1, 1)),
    "few primitives": SearchOptions(
        num_primitive_range=(3, 7), allowed_filter="fold,badd,scale", max_weighted_ratio=0.5
    ),
}
POSSIBLE = [
    (sites, options)
    for sites in SITES
    for options in OPTIONS
    if (sites, options) not in {("0-D", "receptive"), ("0-D", "necessary"), ("1-D", "receptive")}
]


def play(space: SearchSpace, rng: np.random.Generator, limits: Limits) -> KernelGraph:
    state = space.start(limits)
    while state.graph is None:
        state = space.step(state, space.random_action(state, rng))
    return state.graph


@pytest.mark.parametrize(("sites", "options"), POSSIBLE)
def test_random_play_always_ends_in_a_legal_kernel_that_keeps_the_options(sites, options):
    space, rng = SearchSpace(SITES[sites], OPTIONS[options]), np.random.default_rng(0)
    for episode in range(12):
        limits = space.draw_limits(rng, exact_length=episode % 2 == 0)
        graph = play(space, rng, limits)
        verify(graph)
        check_options(graph, space, limits)


def check_options(graph: KernelGraph, space: SearchSpace, limits: Limits) -> None:
    options = space.options
    assert limits.min_primitives <= graph.primitive_count <= limits.max_primitives
    weighted = sum(node.primitive.weighted for node in graph.nodes)
    assert options.num_weighted_range[0] <= weighted <= options.num_weighted_range[1]
    assert weighted <= options.max_weighted_ratio * graph.primitive_count + 1e-9
    assert not limits.require_bmm or "BMM" in graph.families
    for entry in filter(None, options.necessary_filter.split(",")):
        assert any(family.lower().startswith(entry) for family in graph.families)
    if options.allowed_filter:
        assert all(family.lower().startswith(tuple(options.allowed_filter.split(","))) for family in graph.families)
    for site in space.sites:
        cost, conv = static_cost(graph, site), ReferenceConv()
        assert cost.flops <= (options.flops_budget or 1e9) * conv.flops(site)
        assert cost.params <= (options.params_budget or 1e9) * conv.params(site)
        assert cost.activation <= (options.memory_budget or 1e9) * conv.activation(site)
    assert widest_stack(graph.program) <= limits.width


def widest_stack(program: tuple[str, ...]) -> int:
    depth = deepest = 1
    for name in program:
        depth += name.startswith("push") - ("under" in name)
        deepest = max(deepest, depth)
    return deepest


@pytest.mark.parametrize("options", ["defaults", "budgets", "necessary", "no arithmetic"])
def test_mask_and_transition_agree_on_every_action(options):
    space, rng = SearchSpace(SITES["2-D"], OPTIONS[options]), np.random.default_rng(1)
    for _ in range(2):
        state = space.start(space.draw_limits(rng))
        while state.graph is None:
            mask = space.mask(state)
            for action in rng.choice(len(mask), 30, replace=False):
                if mask[action]:
                    space.step(state, int(action))
                    assert space.explain(state, int(action)) == ""
                else:
                    with pytest.raises(IllegalActionError):
                        space.step(state, int(action))
                    assert space.explain(state, int(action)).startswith(space.actions[action])
            state = space.step(state, int(rng.choice(np.flatnonzero(mask))))


def test_the_mask_does_not_depend_on_what_was_played_before():
    options = SearchOptions(num_primitive_range=(2, 6))
    used, rng = SearchSpace(SITES["2-D"], options), np.random.default_rng(2)
    programs = [used.sample(rng).program for _ in range(15)]
    for program in programs[-3:]:
        fresh = SearchSpace(SITES["2-D"], options)
        a, b = used.start(), fresh.start()
        for name in program[:-1]:
            assert (used.mask(a) == fresh.mask(b)).all()
            if not used.is_legal(a, used.actions.index(name)):
                break  # sampled within narrower limits
            a, b = used.step(a, used.actions.index(name)), fresh.step(b, fresh.actions.index(name))


def test_sampling_repeats_with_the_seed_and_lengths_cover_the_range():
    space = SearchSpace(SITES["2-D"], SearchOptions(num_primitive_range=(3, 6)))
    one, other = ([space.sample(np.random.default_rng(seed)).hash for seed in range(40)] for _ in range(2))
    assert one == other
    rng = np.random.default_rng(0)
    lengths = [space.sample(rng).primitive_count for _ in range(120)]
    assert {3, 4, 5, 6} == set(lengths)
    assert max(np.bincount(lengths)[3:]) < 60


def test_a_program_replays_to_the_same_kernel():
    space, rng = SearchSpace(RESNET, SearchOptions(num_primitive_range=(2, 9))), np.random.default_rng(4)
    for _ in range(10):
        graph = play(space, rng, space.widest())
        assert space.replay(graph.program).graph == graph
    with pytest.raises(IllegalActionError, match="Did you mean 'relu'"):
        space.replay(["rellu"])


def test_default_action_count_is_at_most_512_and_every_family_is_reached():
    space, rng = SearchSpace(RESNET), np.random.default_rng(0)
    assert len(space.actions) <= 512
    met = set()
    for _ in range(60):
        met.update(space.sample(rng).families)
    assert met == set(space.families) - {"Push", "Output"}


def test_fill_levels_choose_the_width_of_a_bottleneck():
    space = SearchSpace(RESNET, SearchOptions(num_primitive_range=(2, 5), max_weighted_ratio=1.0))
    widths = {}
    for level in ("1", "1/2", "1/4", "1/8"):
        graph = space.replay(["fc(x)", "fc(C)", f"output({level})"]).graph
        assert graph is not None
        widths[level] = str(graph.nodes[1].shape.size(graph.nodes[1].shape.dims()[0]))
    assert widths == {"1": "C", "1/2": "C/2", "1/4": "C/4", "1/8": "C/8"}


def test_fill_levels_are_one_where_nothing_is_free():
    space = SearchSpace(RESNET, SearchOptions(num_primitive_range=(1, 5), max_weighted_ratio=1.0))
    state = space.replay(["fc(C)"])
    assert space.is_legal(state, space.actions.index("output(1)"))
    assert "all fill levels are the same" in space.explain(state, space.actions.index("output(1/2)"))


def test_free_sizes_use_the_budget_and_keep_it():
    tight = SearchSpace(RESNET, SearchOptions(num_primitive_range=(2, 5), max_weighted_ratio=1.0, flops_budget=0.06))
    graph = tight.replay(["fc(x)", "fc(C)", "output(1)"]).graph
    assert graph is not None
    for site in RESNET:
        used = static_cost(graph, site).flops / ReferenceConv().flops(site)
        assert 0.03 < used <= 0.06


def test_a_site_without_a_reference_has_no_budget():
    options = SearchOptions(num_primitive_range=(1, 3), max_weighted_ratio=1.0, flops_budget=0.12)
    bounded = SearchSpace([RESNET[0], Site(16, 8, 8)], options)
    assert not bounded.is_legal(bounded.start(), bounded.actions.index("conv(5x5,d1,depthwise)"))  # 25 / (9 * 16)
    free = SearchSpace([RESNET[0], Site(16, 8, 8)], options, [ReferenceConv(), None])
    assert free.is_legal(free.start(), free.actions.index("conv(5x5,d1,depthwise)"))
    assert not free.is_legal(free.start(), free.actions.index("conv(3x3,d1,C)"))
    assert free.fingerprint != bounded.fingerprint


def test_the_group_count_is_global():
    space = SearchSpace(RESNET, SearchOptions(num_primitive_range=(1, 9)))
    state = space.replay(["group(0,4)", "fc(C)"])
    assert not space.is_legal(state, space.actions.index("group(0,8)"))
    assert space.is_legal(state, space.actions.index("group(0,4)"))


def test_large_activations_are_masked():
    limit = SearchOptions(num_primitive_range=(1, 6), activation_limit=4 * 128 * 64 * 56 * 56 * 10)
    space = SearchSpace(RESNET, limit)
    state = space.start()
    assert space.is_legal(state, space.actions.index("unfold(HW,k3,d1)"))
    assert "activation limit" in space.explain(state, space.actions.index("unfold(HW,k5,d1)"))


CONFLICTS = {
    "necessary and forbidden": (
        SearchOptions(necessary_filter="bmm", forbidden_filter="bmm"),
        "necessary_filter.*bmm.*forbidden_filter",
    ),
    "necessary and not allowed": (
        SearchOptions(necessary_filter="bmm", allowed_filter="fc"),
        "necessary_filter.*allowed_filter",
    ),
    "more weighted than primitives": (
        SearchOptions(num_weighted_range=(6, 8), num_primitive_range=(1, 5)),
        "num_weighted_range.*num_primitive_range",
    ),
    "ratio": (
        SearchOptions(num_weighted_range=(4, 8), num_primitive_range=(1, 5)),
        "num_weighted_range.*max_weighted_ratio",
    ),
    "no weighted family": (SearchOptions(allowed_filter="relu,badd,fold"), "num_weighted_range.*FC, Convolution"),
    "nothing left": (SearchOptions(allowed_filter="fc", forbidden_filter="fc"), "leave no primitive"),
    "output forbidden": (SearchOptions(forbidden_filter="output"), "every kernel has"),
    "bmm forced": (SearchOptions(force_bmm_possibility=0.5, forbidden_filter="bmm"), "force_bmm_possibility"),
    "field": (SearchOptions(min_receptive_size=65), "min_receptive_size.*64 pixels"),
    "flops": (SearchOptions(flops_budget=1e-6), "flops_budget 1e-06"),
    "params": (SearchOptions(params_budget=1e-9), "params_budget 1e-09"),
    "memory": (SearchOptions(memory_budget=0.01, allowed_filter="fc,relu"), "memory_budget 0.01"),
    "length": (
        SearchOptions(num_primitive_range=(1, 1), necessary_filter="fc,relu", max_weighted_ratio=1.0),
        "necessary_filter.*num_primitive_range",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_options_that_no_kernel_meets_are_refused_at_once_by_name(case):
    options, words = CONFLICTS[case]
    with pytest.raises(EmptySpaceError, match=words):
        SearchSpace([Site(64, 8, 8)], options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"allowed_filter": "con,cnov"}, "cnov.*Did you mean"),
        ({"necessary_filter": "fc,,bmm"}, "empty entry"),
        ({"num_primitive_range": (5, 2)}, "num_primitive_range"),
        ({"num_primitive_range": (1000, 2000)}, "most <= 100"),
        ({"kernel_sizes": (4,)}, "odd"),
        ({"kernel_sizes": (3, 3)}, "different"),
        ({"max_weighted_ratio": 1.5}, "from 0 to 1"),
        ({"flops_budget": -1.0}, "above 0"),
        ({"min_receptive_size": 0}, "at least 1"),
        ({"shift_sizes": (0,)}, "at least 1"),
        ({"num_max_width_range": (2,)}, "two whole numbers"),
    ],
)
def test_unusable_options_are_refused_with_the_value(change, words):
    with pytest.raises(ConfigError, match=words):
        SearchSpace([Site(64, 8, 8)], replace(SearchOptions(), **change))


def test_sites_of_different_kinds_are_refused():
    with pytest.raises(PlaceholderError, match="different numbers of spatial dims"):
        SearchSpace([Site(64, 8, 8), Site(64, 8)])
    with pytest.raises(PlaceholderError, match="no site"):
        SearchSpace([])


def test_options_survive_json_and_the_fingerprint_tells_spaces_apart():
    options = SearchOptions(necessary_filter="bmm", flops_budget=0.5)
    assert SearchOptions.from_json(options.to_json()) == options
    with pytest.raises(ConfigError, match="unknown search-space option"):
        SearchOptions.from_json({"colour": 1})
    space = SearchSpace(SITES["2-D"], options)
    assert space.fingerprint == SearchSpace(SITES["2-D"], options).fingerprint
    assert space.fingerprint != SearchSpace(SITES["2-D"], replace(options, flops_budget=0.6)).fingerprint
    assert space.fingerprint != SearchSpace(SITES["odd"], options).fingerprint


def test_forced_bmm_is_drawn_with_its_probability():
    space, rng = SearchSpace(SITES["2-D"], OPTIONS["forced bmm"]), np.random.default_rng(0)
    share = np.mean([space.draw_limits(rng).require_bmm for _ in range(400)])
    assert 0.4 < share < 0.6


def test_ratio_bounds_follow_the_length():
    space = SearchSpace(
        SITES["2-D"], SearchOptions(num_primitive_range=(4, 4), max_weighted_ratio=0.5, num_weighted_range=(0, 8))
    )
    rng = np.random.default_rng(0)
    weighted = [sum(node.primitive.weighted for node in space.sample(rng).nodes) for _ in range(60)]
    assert max(weighted) == ceil(4 * 0.5)
