"""Kernels are timed in turn, in several visits each."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from workerless import WorkerlessPool

from canvas_rl.evaluation import evaluator as evaluator_module
from canvas_rl.evaluation import jobs
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.pool import Job, Outcome
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.subject import Place, kernel_spec
from canvas_rl.evaluation.timing import PairTiming
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = (Site(16, 16, 16), Site(32, 8, 8))
CONFIG = EvaluationConfig(LatencyConfig(time_cap_s=0.12), proxy=None, workers=1)
VISITS = CONFIG.latency.visits


class VisitedPool(WorkerlessPool):
    """Workers that give each visit of a kernel an outcome of its own."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.visited: list[str] = []
        self.slowdowns = [1.0] * VISITS
        self.timings: dict[str, dict[str, float]] = {}
        self.job_seconds: dict[str, float] = {}
        self.fails: dict[str, int] = {}

    def answer(self, job: Job) -> Outcome:
        outcome = super().answer(job)
        if job.function != jobs.TIME:
            return outcome
        kernel = job.payload["subject"]["graph"]["hash"]
        visit = self.visited.count(kernel)
        self.visited.append(kernel)
        if self.fails.get(kernel) == visit:
            return Outcome(Status.CRASHED, "its worker process was killed by SIGSEGV")
        for timing in outcome.value["timings"]:
            timing["timing"]["latency_s"] *= self.slowdowns[visit]
            timing["timing"] |= self.timings.get(kernel, {})
        return replace(outcome, seconds=self.job_seconds.get(kernel, 0.0))


@pytest.fixture(scope="module")
def kernels() -> list[KernelGraph]:
    rng, space = np.random.default_rng(0), SearchSpace(SITES, default_space())
    found = {graph.hash: graph for graph in (space.sample(rng) for _ in range(20))}
    return list(found.values())[:3]


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> KernelEvaluator:
    monkeypatch.setattr(evaluator_module, "WorkerPool", VisitedPool)
    return KernelEvaluator(SITES, config=CONFIG)


def pool_of(evaluator: KernelEvaluator) -> VisitedPool:
    assert isinstance(evaluator._pool, VisitedPool)
    return evaluator._pool


def test_kernels_are_visited_in_turn(evaluator: KernelEvaluator, kernels: list[KernelGraph]) -> None:
    arrived: list[Measurement] = []
    measured = evaluator.evaluate(kernels, arrived.append)
    names = [graph.hash for graph in kernels]
    assert VISITS == 3
    assert pool_of(evaluator).visited == names * VISITS
    assert [item.kernel for item in arrived] == names
    assert all(item.ok for item in measured)


def test_the_fastest_visit_counts(evaluator: KernelEvaluator, kernels: list[KernelGraph]) -> None:
    (quiet,) = evaluator.evaluate(kernels[:1])
    disturbed_evaluator = KernelEvaluator(SITES, config=CONFIG)
    pool_of(disturbed_evaluator).slowdowns = [2.0, 1.0, 3.0]
    (disturbed,) = disturbed_evaluator.evaluate(kernels[:1])
    assert [figures.latency_s for figures in disturbed.sites] == [figures.latency_s for figures in quiet.sites]
    assert float(disturbed.environment["noise"]) == pytest.approx(np.log(2) / 2, abs=1e-3)
    assert "above the 0.5% aimed at" in disturbed.environment["notes"]


def test_a_kernel_that_takes_too_long_is_not_visited_again(
    evaluator: KernelEvaluator, kernels: list[KernelGraph]
) -> None:
    slow = kernels[1].hash
    cap_s, names = CONFIG.latency.cap_s, [graph.hash for graph in kernels]
    as_planned = {"seconds": 0.99 * cap_s / (VISITS - 1), "rounds": 5}
    pool_of(evaluator).timings = {names[0]: as_planned, slow: {"seconds": 1.01 * cap_s, "rounds": 5}}
    measured = evaluator.evaluate(kernels)
    assert all(item.ok for item in measured)
    assert [pool_of(evaluator).visited.count(name) for name in names] == [VISITS, 1, VISITS]


def test_a_kernel_is_visited_again_while_its_rounds_are_few(
    evaluator: KernelEvaluator, kernels: list[KernelGraph]
) -> None:
    cap_s, names = CONFIG.latency.cap_s, [graph.hash for graph in kernels]
    pool_of(evaluator).timings = {
        names[0]: {"seconds": 2 * cap_s, "rounds": 2},
        names[1]: {"seconds": 2 * cap_s, "rounds": 3},
        names[2]: {"seconds": 5.1 * cap_s, "rounds": 1},
    }
    evaluator.evaluate(kernels)
    assert [pool_of(evaluator).visited.count(name) for name in names] == [3, 2, 1]


def test_a_kernel_is_not_visited_again_where_its_time_limit_would_end_the_visit(
    evaluator: KernelEvaluator, kernels: list[KernelGraph]
) -> None:
    name = kernels[0].hash
    pool_of(evaluator).job_seconds = {name: 0.4 * CONFIG.time_limit_s}
    (measured,) = evaluator.evaluate(kernels[:1])
    assert measured.ok
    assert pool_of(evaluator).visited == [name] * 2


def test_only_so_many_kernels_wait_for_each_other(
    evaluator: KernelEvaluator, kernels: list[KernelGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator_module, "IN_TURN", 2)
    evaluator.evaluate(kernels)
    names = [graph.hash for graph in kernels]
    assert pool_of(evaluator).visited == names[:2] * VISITS + names[2:] * VISITS


def test_a_visit_takes_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch, kernels: list[KernelGraph]) -> None:
    caps: list[float] = []

    def measure(*arguments: Any) -> PairTiming:
        caps.append(arguments[3].cap_s)
        return PairTiming(1e-3, 1e-3, 5, 0.0)

    monkeypatch.setattr(jobs, "measure_pair", measure)
    payload = {
        "subject": kernel_spec(kernels[0].to_json()),
        "places": [Place(site, ReferenceConv()).to_json() for site in SITES],
        "latency": CONFIG.latency.to_json(),
        "seed": 0,
    }
    jobs.time_sites(payload, {})
    assert caps == pytest.approx([CONFIG.latency.cap_s / VISITS] * len(SITES))


def test_a_kernel_that_fails_at_a_later_visit_has_failed(
    evaluator: KernelEvaluator, kernels: list[KernelGraph]
) -> None:
    pool_of(evaluator).fails = {kernels[0].hash: 1}
    failed, *others = evaluator.evaluate(kernels)
    assert failed.status is Status.CRASHED
    assert failed.speedup is None
    assert all(item.ok for item in others)
    assert [pool_of(evaluator).visited.count(graph.hash) for graph in kernels] == [2, VISITS, VISITS]
