import math
from dataclasses import replace

import numpy as np
import pytest

from agents.mcts import MCTSAgent, MCTSConfig
from agents.program_tree import ProgramTree, Scale
from canvas_rl import zoo
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.session import Judged, Outcome, SearchOver, Snapshot
from canvas_rl.space import SearchSpace
from tests.agents.test_agents import MemorySession, run


def searched(space, rounds, **options):
    """An agent after so many rounds."""
    agent = MCTSAgent(MCTSConfig(**options))
    with pytest.raises(SearchOver):
        agent.run(MemorySession(space, rounds))
    return agent


def nodes_below(node):
    yield node
    for child in node.children.values():
        yield from nodes_below(child)


@pytest.fixture(scope="module")
def roomy(space):
    """A space in which nearly every rollout is a new kernel."""
    return SearchSpace(space.sites, replace(space.options, allowed_filter="", num_primitive_range=(2, 6)))


def test_progressive_widening_bounds_the_live_children(roomy):
    agent = searched(roomy, 12, kernels_per_round=8, widening=1.0, widening_exponent=0.5)
    nodes = [node for node in nodes_below(agent._tree.root) if node.count >= 4]
    assert len(nodes) > 5
    most = [math.ceil(node.count**0.5) + 1 for node in nodes]  # 1: simulations that only found known kernels count too
    assert all(node.live <= bound for node, bound in zip(nodes, most, strict=True))
    assert max(node.live for node in nodes) > 2


def test_a_round_is_spread_by_its_virtual_loss(space):
    def first_actions(hold):
        agent = searched(space, 3, kernels_per_round=8)
        if not hold:
            agent._hold = lambda nodes: None
        asked = agent.ask(np.random.default_rng(1))
        assert all(node.pending == 0 for node in nodes_below(agent._tree.root))
        return len({graph.program[:2] for graph in asked})

    assert first_actions(hold=True) > first_actions(hold=False)


def test_no_known_kernel_is_proposed_while_there_are_new_ones(space):
    session = MemorySession(space, 25)
    hashes = []
    session.value = lambda graph: hashes.append(graph.hash) or float("Conv" in " ".join(graph.families))
    run("mcts", session, kernels_per_round=16)
    assert len(hashes) == 25 * 16
    assert len(set(hashes)) == len(hashes)


@pytest.fixture(scope="module")
def tiny():
    """A space of a few kernels."""
    from canvas_rl.config import SearchOptions
    from canvas_rl.symbolic.site import Site

    options = SearchOptions(
        allowed_filter="fc,fold,relu,badd",
        num_primitive_range=(1, 2),
        num_max_width_range=(1, 1),
        max_weighted_ratio=1.0,
    )
    return SearchSpace((Site(8, 4, 4),), options)


def every_kernel(space):
    """The hashes of all kernels that the mask can reach."""
    found, states = set(), [space.start()]
    while states:
        state = states.pop()
        if state.done:
            found.add(state.graph.hash)
        else:
            states += [space.step(state, int(action)) for action in np.flatnonzero(space.mask(state))]
    return found


def test_an_exhausted_space_ends_in_repeats(tiny):
    everything = every_kernel(tiny)
    session = MemorySession(tiny, len(everything) // 4 + 10)
    hashes = []
    session.value = lambda graph: hashes.append(graph.hash) or 1.0
    agent = MCTSAgent(MCTSConfig(kernels_per_round=8))
    with pytest.raises(SearchOver):
        agent.run(session)
    assert set(hashes) == everything
    assert len(set(hashes[: len(everything)])) == len(everything)
    assert agent._tree.root.exhausted
    restored = MCTSAgent(MCTSConfig(kernels_per_round=8))
    with pytest.raises(SearchOver):
        restored.run(MemorySession(tiny, 1, restored=session.snapshots[-1]))
    assert restored._tree.root.exhausted


def test_a_late_snapshot_restores_the_whole_tree(tiny):
    """Repeated kernels and closed prefixes are part of it."""

    def shape(node):
        figures = (node.count, node.total, node.best, node.live, node.complete, node.exhausted)
        later = {action: (tally.count, tally.total, tally.best) for action, tally in node.later.items()}
        return figures, later, [(action, shape(child)) for action, child in node.children.items()]

    agent = searched(tiny, 4, kernels_per_round=8)
    assert None in agent.state()["rewards"]
    other = MCTSAgent(agent.config)
    other.space = tiny
    other.begin(MemorySession(tiny, 0))
    other.restore(agent.state())
    assert shape(other._tree.root) == shape(agent._tree.root)


def test_dropped_states_change_nothing(space, monkeypatch):
    whole = run("mcts", MemorySession(space, 6))
    monkeypatch.setattr("agents.mcts._CACHED_STATES", 3)
    assert run("mcts", MemorySession(space, 6)).batches == whole.batches


def test_a_repeat_teaches_nothing(space):
    agent = searched(space, 1)
    graph = space.sample(np.random.default_rng(5))
    count = agent._tree.root.count
    agent.tell([Judged(graph, Outcome(0.0, repeated=True))])
    assert agent._tree.root.count == count
    agent.tell([Judged(graph, Outcome(0.5))])
    assert agent._tree.root.count == count + 1


def test_it_learns_from_a_warm_start(space):
    space = SearchSpace(space.sites, replace(space.options, max_weighted_ratio=1.0))
    graph = zoo.build("depthwise_separable", space)
    session = run("mcts", MemorySession(space, 1, warm_start=(graph,)))
    assert session.snapshots[0].state["programs"][0] == " ".join(graph.program)


def test_a_program_that_the_tree_hides_is_closed(space):
    """Its limits may not allow what a warm start brings."""
    agent = searched(space, 1)
    graph = space.sample(np.random.default_rng(5))
    object.__setattr__(graph, "program", ("relu", "relu", "relu", "output(1)"))
    agent.tell([Judged(graph, Outcome(9.0))])
    for seed in range(10):
        agent.ask(np.random.default_rng(seed))
    node = agent._tree.root.children[agent._index["relu"]].children[agent._index["relu"]]
    assert node.exhausted


@pytest.mark.parametrize("forced", [0.0, 0.5, 1.0])
def test_a_forced_bmm(space, forced):
    options = replace(space.options, allowed_filter="", force_bmm_possibility=forced)
    agent = searched(SearchSpace(space.sites, options), 2, kernels_per_round=4)
    if forced == 1:
        assert all("bmm" in program for program in agent._programs if "output" in program)
    assert agent._programs


@pytest.mark.parametrize(
    "state",
    [
        {"policy": 1},
        {"programs": ["relu"], "rewards": []},
        {"programs": [3], "rewards": [0.5]},
        {"programs": ["warp(3)"], "rewards": [0.5]},
        {"programs": 7, "rewards": 7},
    ],
)
def test_a_foreign_checkpoint_is_refused(space, state):
    session = MemorySession(space, 1, restored=Snapshot({"rounds": 1, "known": [], **state}, version=1))
    with pytest.raises(FormatError, match="delete it"):
        MCTSAgent(MCTSConfig()).run(session)


@pytest.mark.parametrize(
    "options",
    [
        {"kernels_per_round": 0},
        {"exploration": -0.1},
        {"exploration": math.nan},
        {"greed": 1.5},
        {"widening": 0.5},
        {"widening_exponent": 0.0},
        {"rave_kernels": -1.0},
        {"rave_least": 0},
        {"guided": 2.0},
        {"even_lengths": -1.0},
        {"candidates": 0},
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is .*expected"):
        MCTSConfig(**options)


def test_a_scale_ranks_whatever_the_range():
    scale = Scale()
    assert scale(3.0) == 0.5
    for reward in (-1e6, 1.0, 2.0, 1e9):
        scale.add(reward)
    assert [scale(value) for value in (-2e6, -1e6, 1.5, 1e9, 2e9)] == [0, 0.125, 0.5, 0.875, 1]


def test_a_closed_prefix_is_exhausted_once_its_children_are():
    tree = ProgramTree()
    tree.close(tree.insert((1, 2)))
    prefix = tree.root.children[1]
    assert not prefix.exhausted
    tree.close(tree.insert((1,)))
    assert prefix.exhausted
    assert tree.root.live == 0
    assert not tree.root.exhausted
    tree.close([tree.root])
    assert tree.root.exhausted


def test_later_actions_are_counted_once_a_kernel():
    tree = ProgramTree(later_from=1)
    tree.learn((1, 2, 2), 0.5)
    tree.learn((2, 1), 1.5)
    later = tree.root.later
    assert (later[2].count, later[2].total, later[2].best) == (2, 2.0, 1.5)
    assert set(tree.root.children[1].later) == {2}
