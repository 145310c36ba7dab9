"""Kernels of a chunk are timed in turn, in several visits each."""

from dataclasses import replace

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
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space
from canvas_rl.symbolic.site import Site

SITES = (Site(16, 16, 16), Site(32, 8, 8))
CONFIG = EvaluationConfig(LatencyConfig(time_cap_s=0.12), proxy=None, workers=1)
VISITS = CONFIG.latency.visits


class VisitedPool(WorkerlessPool):
    """Workers that give each visit of a kernel an outcome of its own."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.visited: list[str] = []
        self.slowdowns = [1.0] * VISITS
        self.seconds: dict[str, float] = {}
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
        return replace(outcome, value=outcome.value | {"seconds": self.seconds.get(kernel, 0.0)})


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
    planned_s = CONFIG.latency.cap_s * len(SITES)
    pool_of(evaluator).seconds = {slow: 2.1 * planned_s}
    measured = evaluator.evaluate(kernels)
    assert all(item.ok for item in measured)
    assert [pool_of(evaluator).visited.count(graph.hash) for graph in kernels] == [VISITS, 1, VISITS]


def test_a_kernel_that_fails_at_a_later_visit_has_failed(
    evaluator: KernelEvaluator, kernels: list[KernelGraph]
) -> None:
    pool_of(evaluator).fails = {kernels[0].hash: 1}
    failed, *others = evaluator.evaluate(kernels)
    assert failed.status is Status.CRASHED
    assert failed.speedup is None
    assert all(item.ok for item in others)
    assert [pool_of(evaluator).visited.count(graph.hash) for graph in kernels] == [2, VISITS, VISITS]
