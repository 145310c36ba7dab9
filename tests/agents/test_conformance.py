"""What every registered agent keeps to, played in the real session with a run folder and the analytic evaluator."""

import json
from dataclasses import fields

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.registration import AGENTS, load_agent
from canvas_rl.rewards import REWARDS, make_reward
from canvas_rl.session import SearchOver, Snapshot
from canvas_rl.space import SearchSpace
from canvas_rl.study import session as session_module
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import agent_config
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.site import Site

SETTINGS = {
    "ppo": ("kernels_per_update=6",),
    "random": ("kernels_per_round=6",),
    "evolution": ("kernels_per_round=6", "population=10", "tournament=3"),
    "genetic": ("kernels_per_generation=6", "population=10"),
    "mcts": ("kernels_per_round=6",),
}
VARIANTS = {**{name: (name, SETTINGS.get(name, ())) for name in AGENTS.names()}}
VARIANTS["genetic, pareto"] = ("genetic", (*SETTINGS["genetic"], "objectives=pareto"))
VARIANTS["genetic, impatient"] = ("genetic", ("kernels_per_generation=4", "population=6", "patience=8"))
VARIANTS["ppo, impatient"] = ("ppo", (*SETTINGS["ppo"], "patience=6"))
SPACES = {
    "1-D, a BMM forced": ((Site(8, 6),), {"force_bmm_possibility": 1.0, "num_primitive_range": (2, 5)}),
    "0-D": ((Site(12),), {"num_primitive_range": (2, 4)}),
    "all budgets": (
        (Site(16, 8, 8), Site(32, 4, 4)),
        {"flops_budget": 0.5, "params_budget": 0.5, "memory_budget": 20.0, "num_primitive_range": (2, 5)},
    ),
    "long kernels": ((Site(16, 8, 8),), {"num_primitive_range": (10, 14)}),
}
TINY = {"allowed_filter": "fc,relu", "num_primitive_range": (1, 2), "num_max_width_range": (1, 1)}


class Watched(AnalyticEvaluator):
    """Remembers what it was paid for, and asks the search to end after so many kernels."""

    def __init__(self, sites, stopper, stop_after=None):
        super().__init__(sites)
        self.stopper, self.stop_after, self.paid = stopper, stop_after, []

    def evaluate(self, graphs, on_result=None):
        results = []
        for graph in graphs:
            results += super().evaluate([graph])
            self.paid.append(graph.hash)
            if len(self.paid) == self.stop_after:
                self.stopper.reason = "stopped by a test"
            if on_result is not None:
                on_result(results[-1])
        return results


def search(variant, space, evaluations, *, seed=0, folder=None, reward="mnasnet", stop_after=None):
    """A session after an agent's run in it, and its evaluator."""
    name, options = VARIANTS[variant]
    stopper, nowhere = Stopper(), Nowhere()
    evaluator = Watched(space.sites, stopper, stop_after)
    parts = Parts(space, evaluator, make_reward(reward), folder or nowhere, nowhere, stopper)
    session = SearchSession(parts, evaluations, seed)
    session.restore()
    agent_type = load_agent(name)
    with pytest.raises(SearchOver):
        agent_type(agent_config(agent_type.config_type, options)).run(session)
    return session, evaluator


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_budget_is_kept_to_the_evaluation_and_nothing_is_evaluated_twice(space, variant):
    session, evaluator = search(variant, space, 27)
    assert session.count == len(evaluator.paid) == len(set(evaluator.paid)) == 27


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_seed_is_the_same_search_to_the_last_kernel(space, variant):
    first, second, other = (search(variant, space, 40, seed=seed)[1].paid for seed in (3, 3, 4))
    assert first == second != other


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_search_that_was_ended_and_resumed_equals_one_that_was_not(space, variant, tmp_path):
    whole = search(variant, space, 50)[1].paid
    folder = RunFolder.create(tmp_path / "run")
    first = search(variant, space, 50, folder=folder, stop_after=33)[1].paid
    second = search(variant, space, 50, folder=folder)[1].paid  # without a store, unclaimed kernels are paid again
    assert list(dict.fromkeys(first + second)) == whole


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("reward", REWARDS.names())
def test_every_reward_will_do(space, variant, reward):
    session, _ = search(variant, space, 18, reward=reward)
    low, high = make_reward(reward).range
    assert session.count == 18
    assert all(low <= entry.reward <= high for entry in session.archive.entries)


def test_a_genetic_search_that_began_anew_goes_on_alike(tmp_path):
    space = SearchSpace((Site(8, 16, 16),), SearchOptions(allowed_filter="fc,relu,tanh", num_primitive_range=(1, 5)))
    variant, folder = "genetic, impatient", RunFolder.create(tmp_path / "run")
    whole = search(variant, space, 60)[1].paid
    first = search(variant, space, 60, folder=folder, stop_after=45)[1].paid
    saved = [json.loads(path.read_text()) for path in (tmp_path / "run" / "checkpoints").glob("*/agent.json")]
    assert any(snapshot["state"]["aside"] for snapshot in saved), "it did begin anew"
    second = search(variant, space, 60, folder=folder)[1].paid
    assert list(dict.fromkeys(first + second)) == whole


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SPACES)
def test_every_space_will_do(variant, name):
    sites, options = SPACES[name]
    space = SearchSpace(sites, SearchOptions(**options))
    session, _ = search(variant, space, 24)
    assert session.count == 24
    if options.get("force_bmm_possibility"):
        assert all("BMM" in entry.graph.families for entry in session.archive.entries)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_space_that_is_used_up_ends_the_search(variant, monkeypatch):
    monkeypatch.setattr(session_module, "_REPEATS_IN_A_ROW", 200)
    space = SearchSpace((Site(8, 4, 4),), SearchOptions(**TINY))
    rng = np.random.default_rng(0)
    kernels = {space.sample(rng).hash for _ in range(300)}
    session, _ = search(variant, space, 10_000)
    assert session.count <= 2 * len(kernels)


@pytest.mark.parametrize("variant", VARIANTS)
def test_snapshots_are_plain_json(space, variant, tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    search(variant, space, 20, folder=folder)
    for path in (tmp_path / "run" / "checkpoints").glob("*/agent.json"):
        text = path.read_text()
        assert json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_of_another_agent_or_version_is_refused(space, variant):
    name, options = VARIANTS[variant]
    agent_type, nowhere = load_agent(name), Nowhere()
    parts = Parts(space, Watched(space.sites, Stopper()), make_reward(), nowhere, nowhere, Stopper())
    for version, message in ((agent_type.version, "another agent"), (0, "is of version 0 .* start a new run")):
        session = SearchSession(parts, 10, 0)
        session.restored = Snapshot({"rounds": 3, "colour": "blue"}, {}, version)
        with pytest.raises(FormatError, match=message):
            agent_type(agent_config(agent_type.config_type, options)).run(session)


@pytest.mark.parametrize("variant", VARIANTS)
def test_options_are_documented_plain_values(variant):
    config = load_agent(VARIANTS[variant][0]).config_type()
    for field in fields(config):
        value = getattr(config, field.name)
        assert isinstance(value, int | float | str | bool | tuple) or value is None
    with pytest.raises(ConfigError, match="unknown agent option"):
        agent_config(type(config), ("no_such_option=1",))
