"""Kernels that are predicted to be too slow are never run, and nobody takes the prediction for a measurement."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workerless import WorkerlessPool

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation import cost_model, jobs, screening
from canvas_rl.evaluation import evaluator as evaluator_module
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.screening import FEWEST_TIMED, SpeedupModel, fitted_on
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.ir import KernelGraph
from canvas_rl.rewards import make_reward
from canvas_rl.session import Snapshot
from canvas_rl.space import SearchSpace
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import default_space
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = (Site(16, 16, 16), Site(32, 8, 8), Site(16, 16, 16))
REFERENCES = (ReferenceConv(3), ReferenceConv(3), ReferenceConv(1))
CONFIG = EvaluationConfig(LatencyConfig(time_cap_s=0.04), proxy=None, workers=1)  # one visit a kernel
BATCH = 10


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator_module, "WorkerPool", WorkerlessPool)
    monkeypatch.setitem(cost_model._TREES, "n_estimators", 60)  # quick


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace(SITES[:2], default_space())


@pytest.fixture(scope="module")
def kernels(space: SearchSpace) -> list[KernelGraph]:
    rng = np.random.default_rng(0)
    found: dict[str, KernelGraph] = {}
    while len(found) < 150:
        graph = space.sample(rng)
        found[graph.hash] = graph
    return list(found.values())


@pytest.fixture(scope="module")
def speedups(kernels: list[KernelGraph]) -> dict[str, float]:
    measured = AnalyticEvaluator(SITES, REFERENCES).evaluate(kernels)
    return {item.kernel: float(item.speedup or 0) for item in measured}


@pytest.fixture(scope="module")
def threshold(speedups: dict[str, float]) -> float:
    return float(np.quantile(list(speedups.values()), 0.7))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MeasurementStore]:
    store = MeasurementStore(tmp_path / "store.sqlite")
    yield store
    store.close()


def make(
    store: MeasurementStore | None, skip_slower: float | None, config: EvaluationConfig = CONFIG
) -> KernelEvaluator:
    return KernelEvaluator(SITES, REFERENCES, replace(config, skip_slower=skip_slower), store)


def asked(evaluator: KernelEvaluator) -> list[tuple[str, float, str]]:
    pool = evaluator._pool
    assert isinstance(pool, WorkerlessPool)
    return pool.asked


def judge(evaluator: KernelEvaluator, kernels: list[KernelGraph]) -> dict[str, Status]:
    """Statuses of kernels that are evaluated in batches."""
    batches = [kernels[start : start + BATCH] for start in range(0, len(kernels), BATCH)]
    return {item.kernel: item.status for batch in batches for item in evaluator.evaluate(batch)}


def test_slow_kernels_are_skipped_without_any_job_and_fast_ones_measured(
    store: MeasurementStore, kernels: list[KernelGraph], speedups: dict[str, float], threshold: float
) -> None:
    make(store, None).evaluate(kernels[:100])
    with make(store, threshold) as evaluator:
        arrived = []
        measured = evaluator.evaluate(kernels[100:], lambda item: arrived.append(item.kernel))
        skipped = [item for item in measured if item.status is Status.SKIPPED]
        assert len(skipped) >= 15
        assert all(speedups[item.kernel] < threshold for item in skipped)
        fastest = sorted(kernels[100:], key=lambda graph: -speedups[graph.hash])[:10]
        assert not {graph.hash for graph in fastest} & {item.kernel for item in skipped}
        assert not {item.kernel for item in skipped} & {kernel for _, _, kernel in asked(evaluator)}
        assert {item.kernel for item in measured if item.ok} == {kernel for _, _, kernel in asked(evaluator)}
        assert sorted(arrived) == sorted(graph.hash for graph in kernels[100:])
        assert [item.kernel for item in measured] == [graph.hash for graph in kernels[100:]]
    for item in skipped:
        assert item.message.startswith("predicted to be too slow: ")
        assert item.message.endswith(f"skip_slower is {threshold:g}")
        assert item.speedup is None
        assert item.quality is None
        assert item.sites[0].flops > 0


def test_statistics_tell_skipped_kernels_apart(
    store: MeasurementStore, kernels: list[KernelGraph], threshold: float
) -> None:
    make(store, None).evaluate(kernels[:100])
    evaluator = make(store, threshold)
    evaluator.evaluate(kernels[90:])
    evaluator.evaluate(kernels[140:])
    statistics = evaluator.statistics
    assert statistics.skipped == statistics.by_status[Status.SKIPPED] > 0
    assert statistics.evaluated + statistics.skipped == 50
    assert (statistics.asked, statistics.repeats, statistics.store_hits) == (70, 10, 10)


def test_a_skipped_kernel_is_not_stored_and_measured_by_a_search_that_does_not_skip(
    store: MeasurementStore, kernels: list[KernelGraph], threshold: float
) -> None:
    make(store, None).evaluate(kernels[:100])
    skipping = make(store, threshold)
    skipped = [
        graph
        for graph, item in zip(kernels[100:], skipping.evaluate(kernels[100:]), strict=True)
        if item.status is Status.SKIPPED
    ]
    assert not any(store.history(graph.hash) for graph in skipped)
    other = make(store, None)
    assert other.fingerprint == skipping.fingerprint
    assert all(item.ok for item in other.evaluate(skipped))
    assert all(item.ok for item in make(store, threshold).evaluate(skipped)), "what was measured is believed"


def test_with_too_few_timed_kernels_nothing_is_skipped(store: MeasurementStore, kernels: list[KernelGraph]) -> None:
    make(store, None).evaluate(kernels[: FEWEST_TIMED - 1])
    evaluator = make(store, 1e9)
    rest = kernels[FEWEST_TIMED - 1 :]
    assert evaluator.evaluate(rest[:1])[0].ok
    assert evaluator.evaluate(rest[1:2])[0].status is Status.SKIPPED, "now they are enough"


@pytest.mark.parametrize("change", ["fingerprint", "device"])
def test_rows_of_another_fingerprint_or_device_teach_nothing(
    store: MeasurementStore, kernels: list[KernelGraph], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    make(store, None).evaluate(kernels[:100])
    config = CONFIG
    if change == "fingerprint":
        config = replace(CONFIG, seed=1)
    else:
        monkeypatch.setattr(evaluator_module, "device_name", lambda _: "another device")
    assert all(item.ok for item in make(store, 1e9, config).evaluate(kernels[100:]))


def test_failed_and_repeated_measurements_teach_nothing(store: MeasurementStore, kernels: list[KernelGraph]) -> None:
    evaluator = make(store, 1e9)
    count = FEWEST_TIMED - 1
    for item, graph in zip(evaluator.evaluate(kernels[:count]), kernels, strict=False):
        store.put(item, graph.to_json(), evaluator.fingerprint, evaluator.device)
    failed, graph = evaluator.evaluate(kernels[count : count + 1])[0], kernels[count + 1]
    assert failed.ok
    failure = replace(failed, kernel=graph.hash, status=Status.LATENCY_FAILED)
    store.put(failure, graph.to_json(), evaluator.fingerprint, evaluator.device)
    assert len(store.timed(evaluator.fingerprint, evaluator.device)) == FEWEST_TIMED
    assert evaluator.evaluate(kernels[count + 2 : count + 3])[0].status is Status.SKIPPED


def test_kernels_that_can_not_be_read_are_left_out(store: MeasurementStore, kernels: list[KernelGraph]) -> None:
    evaluator = make(store, 1e9)
    measured = make(None, None).evaluate(kernels[:FEWEST_TIMED])
    for index, (item, graph) in enumerate(zip(measured, kernels, strict=False)):
        data = graph.to_json() | ({"hash": "of other rules"} if index == 7 else {})
        store.put(item, data, evaluator.fingerprint, evaluator.device)
    assert evaluator.evaluate(kernels[100:101])[0].ok, "one less than are needed"


def test_the_same_kernels_in_the_same_order_are_skipped_whatever_the_number_of_workers(
    tmp_path: Path, kernels: list[KernelGraph], threshold: float
) -> None:
    found = []
    for workers in (1, 3):
        with make(MeasurementStore(tmp_path / f"{workers}"), threshold, replace(CONFIG, workers=workers)) as evaluator:
            found.append(judge(evaluator, kernels))
    assert found[0] == found[1]
    assert set(found[0].values()) == {Status.OK, Status.SKIPPED}


@pytest.mark.parametrize("jobs_done", [128, 131, 133])
def test_interrupted_within_a_batch_and_resumed_the_same_kernels_are_skipped(
    tmp_path: Path, kernels: list[KernelGraph], threshold: float, jobs_done: int
) -> None:
    """The batch begins with 60 timed kernels: those of it that are stored when it is interrupted must not count."""
    uninterrupted = judge(make(MeasurementStore(tmp_path / "one"), threshold), kernels)
    store = MeasurementStore(tmp_path / "two")
    evaluator = make(store, threshold)
    statuses = judge(evaluator, kernels[:60])
    evaluator._pool.fail_after = jobs_done
    with pytest.raises(KeyboardInterrupt):
        evaluator.evaluate(kernels[60:70])
    assert len(store.timed(evaluator.fingerprint, evaluator.device)) >= FEWEST_TIMED
    statuses |= judge(make(store, threshold), kernels[60:])
    assert statuses == uninterrupted


def test_a_search_resumed_from_an_older_checkpoint_meets_the_same_rewards(
    tmp_path: Path, space: SearchSpace, kernels: list[KernelGraph], threshold: float
) -> None:
    """More than two batches were judged after the checkpoint, and a model fitted now would know of them."""
    batches = [kernels[start : start + BATCH] for start in range(0, 150, BATCH)]

    def begin(path: Path) -> tuple[SearchSession, KernelEvaluator]:
        path.mkdir(exist_ok=True)
        evaluator = make(MeasurementStore(path / "store.sqlite"), threshold)
        parts = Parts(space, evaluator, make_reward(), RunFolder(path), Nowhere(), Stopper())
        session = SearchSession(parts, evaluations=1000, seed=0)
        session.restore()
        return session, evaluator

    session, _ = begin(tmp_path / "one")
    uninterrupted = [[outcome.reward for outcome in session.judge(batch)] for batch in batches]
    session, evaluator = begin(tmp_path / "two")
    rewards = [[outcome.reward for outcome in session.judge(batch)] for batch in batches[:10]]
    session.checkpoint(Snapshot({}))
    for batch in batches[10:12]:
        session.judge(batch)
    evaluator._pool.fail_after = len(asked(evaluator)) + 3
    with pytest.raises(KeyboardInterrupt):
        session.judge(batches[12])
    resumed, _ = begin(tmp_path / "two")
    rewards += [[outcome.reward for outcome in resumed.judge(batch)] for batch in batches[10:]]
    assert rewards == uninterrupted


def test_models_are_refitted_as_the_timed_kernels_grow_by_a_quarter() -> None:
    steps = sorted({fitted_on(timed) for timed in range(200)})
    assert steps == [0, 63, 79, 99, 124, 155, 194]
    assert all(fitted_on(step) == step for step in steps)


def test_stored_kernels_in_a_batch_cost_no_fit(
    store: MeasurementStore, kernels: list[KernelGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(make(store, None), kernels[:70])
    fits = []
    monkeypatch.setattr(screening, "SpeedupModel", lambda *args: fits.append(args) or SpeedupModel(*args))
    evaluator = make(store, 1e-6)
    for start in range(0, 12, 3):
        evaluator.evaluate([*kernels[start : start + 3], *kernels[100 + start : 103 + start]])
    assert len(fits) <= 2, "at most one for 63 kernels and one for 79"


def test_the_margin_covers_speedups_that_the_model_has_not_seen(
    kernels: list[KernelGraph], speedups: dict[str, float]
) -> None:
    measured = AnalyticEvaluator(SITES, REFERENCES).evaluate(kernels)
    noise = np.random.default_rng(0).normal(0, 0.2, (len(kernels), len(SITES)))
    latencies = np.array([[site.latency_s for site in item.sites] for item in measured], dtype=float) * np.exp(noise)
    references = np.array([[site.reference_latency_s for site in item.sites] for item in measured], dtype=float)
    known, others = slice(0, 100), slice(100, 150)
    model = SpeedupModel(kernels[known], latencies[known], references[known], SITES)
    truth = np.exp(np.log(references[others] / latencies[others]).mean(axis=1))
    assert 1.05 < model.margin < 2
    assert np.mean(truth <= model.predict(kernels[others]) * model.margin) >= 0.8


def test_a_drift_of_the_clock_changes_no_prediction(kernels: list[KernelGraph]) -> None:
    measured = AnalyticEvaluator(SITES, REFERENCES).evaluate(kernels[:70])
    latencies = np.array([[site.latency_s for site in item.sites] for item in measured], dtype=float)
    references = np.array([[site.reference_latency_s for site in item.sites] for item in measured], dtype=float)
    drift = np.linspace(1, 3, 70)[:, None]
    one, other = (
        SpeedupModel(kernels[:70], latencies * slower, references * slower, SITES).predict(kernels[70:])
        for slower in (1.0, drift)
    )
    assert np.corrcoef(one, other)[0, 1] > 0.98


def test_a_threshold_needs_a_store(store: MeasurementStore) -> None:
    with pytest.raises(ConfigError, match="skip_slower is 1 and there is no store"):
        make(None, 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"skip_slower is .*: expected a speedup above 0"):
        EvaluationConfig(skip_slower=value)


def test_compilation_has_a_limit_of_its_own(store: MeasurementStore, kernels: list[KernelGraph]) -> None:
    config = replace(CONFIG, latency=replace(CONFIG.latency, mode="compile"), compile_limit_s=90.0)
    evaluator = make(None, None, config)
    answer = WorkerlessPool.answer
    seconds = {jobs.CHECK: 10.0, jobs.COMPILE: 80.0, jobs.TIME: 1.0}
    evaluator._pool.answer = lambda job: replace(answer(evaluator._pool, job), seconds=seconds[job.function])
    (measured,) = evaluator.evaluate(kernels[:1])
    assert [round(limit) for _, limit, _ in asked(evaluator)] == [60, 90, 50]
    assert round(measured.wall_time_s) == 91
