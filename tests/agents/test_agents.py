from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from agents.genetic import GeneticAgent, GeneticConfig
from agents.history import Built
from agents.imitation import certainty, demonstrations
from agents.maskable_ppo import PPOAgent, PPOConfig, restore
from canvas_rl import zoo
from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.registration import AGENTS, load_agent
from canvas_rl.session import Judged, Outcome, SearchOver, Snapshot
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

OPTIONS = {
    "ppo": {"kernels_per_update": 8},
    "random": {"kernels_per_round": 8},
    "evolution": {"kernels_per_round": 8, "population": 12, "tournament": 4},
    "genetic": {"kernels_per_generation": 8, "population": 12},
    "mcts": {"kernels_per_round": 8},
}


class MemorySession:
    """A session without folder or processes: judges by arithmetic and remembers everything."""

    def __init__(self, space, rounds, seed=0, restored=None, value=None, warm_start=()):
        self.space, self.seed, self.restored = space, seed, restored
        self.rounds, self.value = rounds, value or self._analytic
        self.batches, self.rewards, self.logged, self.snapshots = [], [], {}, []
        self.kept = []  # the batches judged before each snapshot
        self._evaluator = AnalyticEvaluator(space.sites)
        self.warm_start = () if restored else tuple(Judged(graph, self._outcome(graph)) for graph in warm_start)

    def _analytic(self, graph):
        return self._evaluator.evaluate([graph])[0].quality

    def _outcome(self, graph):
        return Outcome(self.value(graph), self._evaluator.evaluate([graph])[0])

    def judge(self, graphs):
        if len(self.batches) == self.rounds:
            raise SearchOver("enough")
        self.batches.append([graph.program for graph in graphs])
        outcomes = [self._outcome(graph) for graph in graphs]
        self.rewards.append([outcome.reward for outcome in outcomes])
        return outcomes

    def log(self, name, value):
        self.logged.setdefault(name, []).append(value)

    def checkpoint(self, snapshot):
        self.snapshots.append(snapshot)
        self.kept.append(list(self.batches))


def run(name, session, **options):
    agent_type = load_agent(name)
    agent = agent_type(agent_type.config_type(**{**OPTIONS[name], **options}))
    with pytest.raises(SearchOver):
        agent.run(session)
    return session


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", AGENTS.names())
def test_same_seed_same_kernels(space, name):
    first, second = (run(name, MemorySession(space, 3, seed=4)) for _ in range(2))
    assert first.batches == second.batches
    assert first.batches != run(name, MemorySession(space, 3, seed=5)).batches


@pytest.mark.parametrize("name", AGENTS.names())
def test_a_restored_agent_goes_on_exactly(space, name):
    whole = run(name, MemorySession(space, 5))
    half = run(name, MemorySession(space, 2))
    rest = run(name, MemorySession(space, 3, restored=half.snapshots[-1]))
    assert half.batches + rest.batches == whole.batches


@pytest.mark.parametrize("name", AGENTS.names())
def test_every_round_gives_a_snapshot_of_json_and_tensors(space, name):
    import io
    import json

    session = run(name, MemorySession(space, 3))
    assert len(session.snapshots) >= 2
    for snapshot in session.snapshots:
        assert isinstance(snapshot, Snapshot)
        json.dumps(snapshot.state)
        for tensors in snapshot.tensors.values():
            buffer = io.BytesIO()
            torch.save(tensors, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)


def shortness(graph):
    """A landscape that a policy can climb: kernels of few primitives with many ReLUs."""
    relus = sum(family == "ReLU" for family in graph.families)
    return (relus + 1) / (1 + graph.primitive_count)


def test_ppo_learns_what_random_play_does_not(space):
    learned = run("ppo", MemorySession(space, 30, value=shortness), kernels_per_update=12)
    random = run("random", MemorySession(space, 30, value=shortness), kernels_per_round=12)
    late, baseline = np.mean(learned.rewards[-5:]), np.mean(random.rewards)
    assert late > baseline + 0.15
    assert late > np.mean(learned.rewards[:3]) + 0.15


@pytest.fixture(scope="module")
def zoo_space(space):
    """A space that has some of the zoo's operators."""
    return SearchSpace(space.sites, replace(space.options, max_weighted_ratio=1.0))


def test_a_warm_started_ppo_finds_the_known_programs_likely(zoo_space):
    space = zoo_space
    known = [zoo.build(name, space) for name in ("depthwise_separable", "spatially_separable", "shift_conv1x1")]
    cold, warm = (run("ppo", MemorySession(space, 2, warm_start=start)) for start in ((), tuple(known)))
    agent = PPOAgent(PPOConfig())
    for graph in known:
        steps = demonstrations(space, graph.program, np.random.default_rng(1))
        found = []
        for session in (cold, warm):
            model = agent._build(session)
            restore(model, session.snapshots[0])
            found.append(certainty(model.policy, steps))
        assert found[1] > max(0.25, 2 * found[0])
    assert warm.logged["warm_start/step_probability"][0] > 0.4
    assert "warm_start/step_probability" not in cold.logged


def test_a_warm_start_is_the_same_for_the_same_seed_and_goes_on_exactly(zoo_space):
    space = zoo_space
    known = (zoo.build("depthwise_separable", space),)
    whole, again = (run("ppo", MemorySession(space, 3, warm_start=known)) for _ in range(2))
    assert whole.batches == again.batches
    half = run("ppo", MemorySession(space, 1, warm_start=known))
    rest = MemorySession(space, 2, restored=half.snapshots[-1], warm_start=known)
    assert half.batches + run("ppo", rest).batches == whole.batches
    assert not [name for name in rest.logged if name.startswith("warm_start")]


def test_ppo_logs_its_losses_and_updates(space):
    session = run("ppo", MemorySession(space, 4))
    assert session.logged["train/updates"] == [1, 2, 3, 4]
    for name in ("train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/approx_kl"):
        assert len(session.logged[name]) == 4
        assert np.isfinite(session.logged[name]).all()


def test_a_round_has_exactly_one_kernel_of_every_environment(space):
    session = run("ppo", MemorySession(space, 3), kernels_per_update=5)
    assert [len(batch) for batch in session.batches] == [5, 5, 5]


def test_the_policy_without_exploration_is_logged_and_new_kernels_are_evaluated_once(space):
    session = run("ppo", MemorySession(space, 9), eval_every=2)
    judged = [batch for batch in session.batches if len(batch) == 1]
    assert 1 <= len(judged) <= len(session.logged["eval/reward"])
    assert len(set(chain(*judged))) == len(judged)
    assert set(session.logged["eval/reward"]) <= set(chain(*session.rewards))


def test_a_greedy_kernel_that_is_known_costs_no_evaluation(space):
    session = run("ppo", MemorySession(space, 40, value=shortness), eval_every=1)
    judged = [batch[0] for batch in session.batches if len(batch) == 1]
    assert len(session.logged["eval/reward"]) > len(judged)


@pytest.mark.parametrize("options", [{"eval_every": 1}, {"policy": "mlp"}, {"eval_every": 2, "target_repeats": 0.01}])
def test_ppo_goes_on_exactly_with_every_part_of_it(space, options):
    whole = run("ppo", MemorySession(space, 8), **options)
    for rounds in (3, 4):
        half = run("ppo", MemorySession(space, rounds), **options)
        rest = run("ppo", MemorySession(space, 8 - len(half.kept[-1]), restored=half.snapshots[-1]), **options)
        assert half.kept[-1] + rest.batches == whole.batches


class RepeatingSession(MemorySession):
    """Calls every kernel a repeat, or none."""

    def __init__(self, *args, repeated, **kwargs):
        super().__init__(*args, **kwargs)
        self.repeated = repeated

    def judge(self, graphs):
        return [replace(outcome, repeated=self.repeated) for outcome in super().judge(graphs)]


def test_the_weight_of_the_entropy_grows_with_repeats_alone(space):
    many = run("ppo", RepeatingSession(space, 5, repeated=True)).logged["train/ent_coef"]
    none = run("ppo", RepeatingSession(space, 5, repeated=False)).logged["train/ent_coef"]
    fixed = run("ppo", RepeatingSession(space, 5, repeated=True), target_repeats=0.0).logged["train/ent_coef"]
    assert many == sorted(many)
    assert many[-1] > 2 * many[0]
    assert none == fixed == [PPOConfig().ent_coef] * 5


def test_imitation_makes_the_best_kernels_likelier(space):
    model = PPOAgent(PPOConfig(imitation_batches=20))._build(MemorySession(space, 1))
    rng = np.random.default_rng(0)
    graph = space.sample(rng)
    steps = tuple(demonstrations(space, graph.program, rng))
    before = certainty(model.policy, steps)
    model.history.add(Built(graph.hash, 1.0, steps))
    model._imitate()
    assert certainty(model.policy, steps) > 1.5 * before


def test_a_population_whose_best_has_no_new_neighbours_is_given_up():
    few = SearchSpace((Site(8, 16, 16),), SearchOptions(allowed_filter="fc,relu,tanh", num_primitive_range=(1, 4)))

    def sizes(**options):
        session = MemorySession(few, 16, value=lambda graph: 0.5)
        run("genetic", session, population=8, kernels_per_generation=4, **options)
        return [len(snapshot.state["population"]) for snapshot in session.snapshots]

    assert sizes(patience=0) == [4, *[8] * 15]
    assert sizes(patience=12, objectives="pareto") == [4, *[8] * 15]
    given_up = sizes(patience=12)
    assert given_up[:4] == [4, 8, 8, 8], "within its patience"
    assert min(given_up[4:]) < 8


def test_a_new_population_learns_of_kernels_from_before_for_nothing():
    few = SearchSpace((Site(8, 16, 16),), SearchOptions(allowed_filter="fc,relu,tanh", num_primitive_range=(1, 4)))
    session = MemorySession(few, 16, value=lambda graph: 0.5)
    run("genetic", session, population=8, kernels_per_generation=4, patience=12)
    begun = next(now for now in session.snapshots if now.state["aside"]).state
    assert len(begun["earned"]) == len(begun["known"])
    agent = GeneticAgent(GeneticConfig(population=8))
    agent.space = few
    agent.begin(session)
    agent.restore(begun)
    kernel = few.kernel(few.replay(session.batches[0][0]))
    assert kernel.hash in begun["aside"]
    before = len(agent._population)
    assert agent.recall(kernel)
    assert not agent.recall(kernel), "it joins once"
    assert len(agent._population) == before + 1


def test_ppo_begins_anew_once_it_has_lost_patience(space):
    def lives(patience):
        session = MemorySession(space, 12, value=lambda graph: 0.5)
        run("ppo", session, patience=patience)
        return [len(snapshot.state["history"]["rewards"]) for snapshot in session.snapshots]

    grown = lives(0)
    assert grown == sorted(grown)
    begun = lives(20)
    assert begun.count(0) >= 2
    assert all(kernels < 20 + 8 for kernels in begun)


def test_ppo_begins_anew_with_a_fresh_policy(space):
    model = PPOAgent(PPOConfig(kernels_per_update=8))._build(MemorySession(space, 3))
    model.learn(1)
    model.ent_coef, model.repeats = 0.5, 0.9
    learned = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    assert model.policy.optimizer.state_dict()["state"]
    model._begin_anew()
    assert any(not torch.equal(weight, learned[name]) for name, weight in model.policy.state_dict().items())
    assert not model.policy.optimizer.state_dict()["state"]
    assert (model.ent_coef, model.repeats, model.history.rewards) == (PPOConfig().ent_coef, 0.0, {})
    again = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    model._begin_anew()
    assert all(torch.equal(weight, again[name]) for name, weight in model.policy.state_dict().items()), "by the seed"


def test_ppo_plays_neighbours_of_its_best_and_learns_nothing_of_their_steps(space):
    session = MemorySession(space, 6)
    agent = PPOAgent(PPOConfig(kernels_per_update=8, climbing=1.0))
    model = agent._build(session)
    learned, played = [], []
    fill, play = model._fill, model._play

    def spy_fill(episodes):
        buffer = fill(episodes)
        learned.append((buffer.buffer_size, sum(not step.given for episode in episodes for step in episode)))
        played.append([all(step.given for step in episode) for episode in episodes])
        return buffer

    model._fill = spy_fill
    env = model.get_env()
    for _ in range(3):
        episodes = play(env)
        model._fill(episodes)
        model.rounds += 1
    assert played[0] == [False] * 8, "nothing is known before the first round"
    assert played[1] == played[2] == [False, *[True] * 7]
    assert all(size == own > 0 for size, own in learned)


@pytest.mark.parametrize(
    ("made_by", "options"), [("random", {}), ("ppo", {"policy": "mlp"}), ("ppo", {"hidden": (32,)})]
)
def test_a_checkpoint_of_something_else_is_refused_in_one_sentence(space, made_by, options):
    saved = run(made_by, MemorySession(space, 2), **options).snapshots[-1]
    agent = PPOAgent(PPOConfig())
    with pytest.raises(FormatError, match=r"^the checkpoint is damaged, or was made by another agent.*new run$"):
        agent.run(MemorySession(space, 2, restored=saved))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ppo", {"kernels_per_update": 0}),
        ("ppo", {"learning_rate": 0.0}),
        ("ppo", {"gamma": 1.5}),
        ("ppo", {"warm_start_epochs": -1}),
        ("ppo", {"eval_every": -1}),
        ("ppo", {"ent_coef": -0.1}),
        ("ppo", {"clip_range": 0.0}),
        ("ppo", {"target_kl": 0.0}),
        ("ppo", {"hidden": (64, 0)}),
        ("ppo", {"target_repeats": 2.0}),
        ("ppo", {"policy": "transformer"}),
        ("random", {"kernels_per_round": 0}),
        ("evolution", {"population": 0}),
        ("evolution", {"tournament": 65}),
        ("evolution", {"edits": 0.0}),
        ("genetic", {"crossover": 1.5}),
        ("genetic", {"objectives": "speed"}),
        ("genetic", {"tournament": 0}),
        ("genetic", {"crossover": 0.5, "climbing": 0.6}),
        ("genetic", {"patience": -1}),
        ("mcts", {"widening": float("nan")}),
        ("evolution", {"edits": float("inf")}),
        ("ppo", {"ent_coef": float("nan")}),
    ],
)
def test_bad_options(name, options):
    with pytest.raises(ConfigError, match="expected"):
        load_agent(name).config_type(**options)
