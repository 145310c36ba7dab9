import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canvas_rl.errors import FormatError, RunError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.files import write_json
from canvas_rl.kernels import load_kernel
from canvas_rl.rewards import make_reward
from canvas_rl.session import SearchOver, Snapshot
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.session import Parts, SearchSession, summary
from canvas_rl.study.stopping import Stopper


class Board:
    """Remembers what TensorBoard would have shown."""

    def __init__(self):
        self.measurements, self.bests, self.scalars, self.fronts, self.archives = [], [], [], [], []

    def scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def measurement(self, measurement, reward, step):
        self.measurements.append(measurement.kernel)

    def best(self, entry, step):
        self.bests.append((entry.reward, step))

    def front(self, front, hypervolume, measured, step):
        self.fronts.append((len(front), hypervolume, step))
        self.measured = list(measured)

    def archive(self, entries, step):
        self.archives.append((len(entries), step))

    def counts(self, statuses, store_hits, repeats, step):
        pass

    def flush(self):
        pass


class Evaluator(AnalyticEvaluator):
    """The analytic evaluator with a store shared between processes, failing for some kernels."""

    def __init__(self, space, store=None, stopper=None):
        super().__init__(space.sites)
        self.store = {} if store is None else store
        self.paid, self.screened, self.statistics, self.stopper = [], [], self, stopper
        self.from_store = set()
        self.fail, self.stop_after = lambda graph: False, None
        self.skip = lambda graph: False

    def evaluate(self, graphs, on_result=None):
        results = []
        for graph in graphs:
            if self.skip(graph):
                self.screened.append(graph.hash)
                measured = super().evaluate([graph])[0]
                costs = tuple(replace(site, latency_s=None, reference_latency_s=None) for site in measured.sites)
                results.append(Measurement(graph.hash, Status.SKIPPED, "predicted to be too slow", costs))
                on_result(results[-1])
                continue
            if graph.hash in self.store:
                self.from_store.add(graph.hash)
            else:
                self.paid.append(graph.hash)
                failed = Measurement(graph.hash, Status.CRASHED, "it crashed")
                self.store[graph.hash] = failed if self.fail(graph) else super().evaluate([graph])[0]
                if len(self.paid) == self.stop_after:
                    self.stopper.reason = "stopped by a test"
            results.append(self.store[graph.hash])
            if on_result:
                on_result(results[-1])
        return results


@pytest.fixture(scope="module")
def kernels(space):
    rng = np.random.default_rng(0)
    found = {}
    while len(found) < 24:
        graph = space.sample(rng)
        found[graph.hash] = graph
    return list(found.values())


def make(space, path, evaluations=100, store=None, time_limit=None):
    folder = RunFolder(path)
    stopper = Stopper(time_limit)
    evaluator = Evaluator(space, store, stopper)
    parts = Parts(space, evaluator, make_reward(), folder, Board(), stopper)
    session = SearchSession(parts, evaluations, seed=0)
    session.restore()
    return session, evaluator, parts


def test_counts_distinct_kernels_failures_included(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path)
    evaluator.fail = lambda graph: graph is kernels[1]
    outcomes = session.judge([kernels[0], kernels[1], kernels[0], kernels[2]])
    assert session.count == 3
    assert session.repeats == 1
    assert session.statuses == {"ok": 2, "crashed": 1}
    assert [outcome.repeated for outcome in outcomes] == [False, False, True, False]
    assert outcomes[1].reward == outcomes[2].reward == 0.0
    assert outcomes[0].reward > 0


def test_skipped_kernels_count_earn_the_lowest_reward_and_are_no_result(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path)
    evaluator.skip = lambda graph: graph in kernels[1:3]
    outcomes = session.judge(kernels[:4])
    assert [outcome.reward == 0.0 for outcome in outcomes] == [False, True, True, False]
    assert not any(outcome.repeated for outcome in outcomes)
    assert outcomes[1].measurement.status is Status.SKIPPED
    assert (session.count, session.skipped) == (4, 2)
    assert summary(session)["statuses"] == {"ok": 2, "skipped": 2}
    kept = {entry.graph.hash for entry in (*session.archive.entries, *session.front.entries)}
    assert not kept & {graph.hash for graph in kernels[1:3]}
    assert json.loads((tmp_path / "state.json").read_text())["skipped"] == {
        graph.hash: "predicted to be too slow" for graph in kernels[1:3]
    }


def test_a_resumed_run_stands_by_what_it_skipped(space, kernels, tmp_path):
    """Its model may know more by then; the agent is to meet what it met before."""
    session, evaluator, _ = make(space, tmp_path)
    session.judge(kernels[:2])
    session.checkpoint(Snapshot({"rounds": 1}))
    evaluator.skip = lambda graph: graph in kernels[2:4]
    before = session.judge(kernels[2:6])
    resumed, other, _ = make(space, tmp_path, store=evaluator.store)
    after = resumed.judge(kernels[2:6])
    assert [outcome.reward for outcome in after] == [outcome.reward for outcome in before]
    assert after[0].measurement == before[0].measurement
    assert after[0].measurement.sites[0].flops > 0  # its static cost is known
    assert other.paid == other.screened == []
    assert (resumed.count, resumed.skipped, resumed.store_hits) == (6, 2, 0)


def test_a_resumed_run_shows_nothing_twice_and_still_knows_all_figures(space, kernels, tmp_path):
    session, evaluator, parts = make(space, tmp_path)
    evaluator.fail = lambda graph: graph is kernels[1]
    session.judge(kernels[:4])
    assert [step for _, step in parts.board.archives] == [1, 2, 3, 4]
    known = session.measured
    assert len(known) == 3
    resumed, _, parts = make(space, tmp_path, store=evaluator.store)
    resumed.judge(kernels[:6])
    assert [step for _, step in parts.board.archives] == [5, 6]
    assert resumed.measured[:3] == known
    assert len(resumed.measured) == 5
    assert all(step > 4 for *_, step in (*parts.board.fronts, *parts.board.bests))


def test_the_seconds_of_a_resumed_run_are_those_of_all_its_parts(space, kernels, tmp_path):
    session, evaluator, parts = make(space, tmp_path)
    session.judge(kernels[:2])
    state = parts.folder.load_state()
    assert 0 <= state["seconds"] < 900
    write_json(tmp_path / "state.json", state | {"seconds": 1000.0})
    resumed, _, parts = make(space, tmp_path, store=evaluator.store)
    resumed.judge(kernels[:3])
    assert 1000 <= parts.folder.load_state()["seconds"] < 1900


def test_fewer_evaluations_than_the_run_has_are_named(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path)
    session.judge(kernels[:4])
    fewer, _, _ = make(space, tmp_path, evaluations=3, store=evaluator.store)
    assert fewer.used_up == "the run has 4 evaluations already, more than the 3 asked for"
    assert make(space, tmp_path, evaluations=4, store=evaluator.store)[0].used_up == "all 4 evaluations are done"


def test_a_kernel_seen_in_an_earlier_batch_is_a_repeat_and_costs_nothing(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path)
    session.judge(kernels[:3])
    (outcome,) = session.judge([kernels[1]])
    assert outcome.repeated
    assert outcome.reward == 0.0
    assert len(evaluator.paid) == session.count == 3


def test_the_best_kernel_so_far_can_be_loaded_while_the_search_goes_on(space, kernels, tmp_path):
    session, _, _ = make(space, tmp_path)
    session.judge(kernels[:6])
    assert load_kernel(tmp_path).graph == session.archive.best.graph
    assert not (tmp_path / "best" / "weights.safetensors").exists()  # they come at the end


def test_store_hits_count_as_evaluations(space, kernels, tmp_path):
    first, evaluator, _ = make(space, tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first.judge(kernels[:4])
    second, other, _ = make(space, tmp_path / "b", store=evaluator.store)
    second.judge(kernels[:6])
    assert second.count == 6
    assert second.store_hits == 4
    assert len(other.paid) == 2
    resumed, _, _ = make(space, tmp_path / "b", store=evaluator.store)
    resumed.judge(kernels[:8])  # all but the last two once more: the run's own are no finds of the store
    state = json.loads((tmp_path / "b" / "state.json").read_text())
    assert state["from_store"] == [graph.hash for graph in kernels[:4]]
    assert summary(resumed)["store_hits"] == 4


def test_never_more_evaluations_than_asked_for(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path, evaluations=5)
    session.judge(kernels[:3])
    with pytest.raises(SearchOver, match="all 5 evaluations"):
        session.judge(kernels[3:9])
    assert session.count == len(evaluator.paid) == 5


def test_an_exactly_used_up_budget_still_gives_outcomes_once(space, kernels, tmp_path):
    session, _, _ = make(space, tmp_path, evaluations=3)
    assert len(session.judge(kernels[:3])) == 3
    with pytest.raises(SearchOver):
        session.judge(kernels[:1])


def test_the_time_limit_ends_it(space, kernels, tmp_path):
    session, _, _ = make(space, tmp_path, time_limit=1e-9)
    with pytest.raises(SearchOver, match="time limit"):
        session.judge(kernels[:1])


def test_nothing_but_repeats_ends_it(space, kernels, tmp_path):
    session, _, _ = make(space, tmp_path)
    session.judge(kernels[:1])
    session.judge(kernels[:1] * 1500)
    with pytest.raises(SearchOver, match="seen before"):
        session.judge(kernels[:1] * 1500)


def test_the_archive_keeps_the_best_and_tells_of_improvements(space, kernels, tmp_path):
    session, _, parts = make(space, tmp_path)
    outcomes = session.judge(kernels)
    rewards = [outcome.reward for outcome in outcomes]
    assert session.archive.best.reward == max(rewards)
    assert [entry.reward for entry in session.archive.entries] == sorted(rewards, reverse=True)
    shown = [reward for reward, _ in parts.board.bests]
    assert shown == sorted(set(np.maximum.accumulate(rewards)))


def test_resumed_after_an_interruption_nothing_is_evaluated_or_counted_twice(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path, evaluations=12)
    session.judge(kernels[:4])
    session.checkpoint(Snapshot({"rounds": 1}, version=7))
    evaluator.stop_after = 6
    with pytest.raises(SearchOver, match="stopped by a test"):
        session.judge(kernels[4:8])
    assert session.count == 6

    resumed, other, _ = make(space, tmp_path, evaluations=12, store=evaluator.store)
    assert resumed.restored.state == {"rounds": 1}
    assert resumed.restored.version == 7
    assert resumed.count == 6
    assert resumed.archive.best.reward == session.archive.best.reward
    outcomes = resumed.judge(kernels[4:8])
    assert not any(outcome.repeated for outcome in outcomes)
    assert all(outcome.reward > 0 for outcome in outcomes)
    assert resumed.count == 8
    assert other.paid == [graph.hash for graph in kernels[6:8]]
    assert resumed.store_hits == 0  # the run itself had measured what was asked for again
    with pytest.raises(SearchOver, match="all 12"):
        resumed.judge(kernels[8:20])
    assert resumed.count == 12
    asked = json.loads((tmp_path / "state.json").read_text())["asked"]
    assert len(asked) == len(set(asked)) == 12


def test_a_checkpoint_right_after_resuming_forgets_no_kernel(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path)
    session.judge(kernels[:2])
    session.checkpoint(Snapshot({"rounds": 1}))
    session.judge(kernels[2:4])
    resumed, _, _ = make(space, tmp_path, store=evaluator.store)
    resumed.checkpoint(resumed.restored)  # as PPO does before its first round; then it is interrupted again
    again, other, _ = make(space, tmp_path, store=evaluator.store)
    assert not any(outcome.repeated for outcome in again.judge(kernels[2:4]))
    assert not other.paid
    assert again.count == 4


def test_resumed_with_the_budget_used_up_claims_what_was_counted(space, kernels, tmp_path):
    session, evaluator, _ = make(space, tmp_path, evaluations=4)
    session.judge(kernels[:2])
    session.checkpoint(Snapshot({"rounds": 1}))
    session.judge(kernels[2:4])
    resumed, other, _ = make(space, tmp_path, evaluations=4, store=evaluator.store)
    assert resumed.unclaimed
    assert not any(outcome.repeated for outcome in resumed.judge(kernels[2:4]))
    assert not other.paid
    assert resumed.count == 4


def test_checkpoints_hold_tensors_and_only_the_newest_are_kept(space, kernels, tmp_path):
    import torch

    session, _, parts = make(space, tmp_path)
    for batch in range(4):
        session.judge(kernels[batch : batch + 1])
        session.checkpoint(Snapshot({"rounds": batch}, {"policy": {"w": torch.full((2,), float(batch))}}))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    asked, snapshot = parts.folder.load_checkpoint(space.fingerprint)
    assert asked == 4
    assert snapshot.state == {"rounds": 3}
    assert snapshot.tensors["policy"]["w"].tolist() == [3.0, 3.0]


def test_a_checkpoint_of_another_search_space_is_refused(space, kernels, tmp_path):
    session, _, parts = make(space, tmp_path)
    session.judge(kernels[:1])
    session.checkpoint(Snapshot({}))
    with pytest.raises(RunError, match="another search space"):
        parts.folder.load_checkpoint("something else")


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_is_never_unpickled(space, kernels, tmp_path, capsys):
    import pickle

    import torch

    session, _, parts = make(space, tmp_path)
    session.judge(kernels[:1])
    session.checkpoint(Snapshot({}, {"policy": {"w": torch.zeros(1)}}))
    (path,) = (tmp_path / "checkpoints").glob("*/policy.pt")
    torch.save({"w": Malicious()}, path)
    with pytest.raises(FormatError, match="damaged"):
        parts.folder.load_checkpoint(space.fingerprint)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(FormatError, match="damaged"):
        parts.folder.load_checkpoint(space.fingerprint)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["x" * 300, "/proc/canvas_rl", "/dev/null", "/dev/null/run"])
def test_a_path_that_no_folder_can_have_is_refused(path):
    with pytest.raises(RunError, match="choose another --run-dir"):
        RunFolder.create(Path(path))


@pytest.mark.parametrize("content", ["[]", "{", '{"asked": 3}'])
def test_a_damaged_state_is_refused_with_a_sentence(space, tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(FormatError):
        make(space, tmp_path)
    with pytest.raises(FormatError):
        RunFolder(tmp_path).evaluations()
