"""Sampled kernels through the real evaluator: workers rebuild them from their JSON."""

from dataclasses import replace

import numpy as np

from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_sites
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.ir import static_cost
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITES = (Site(16, 12, 12), Site(32, 6, 6))
PROXY = ProxyConfig.for_dataset("digits", epochs=1, blocks=(1,), channels=(16,), milestones=(), train_samples=256)
CONFIG = EvaluationConfig(LatencyConfig(time_cap_s=0.02), PROXY, workers=1)
BROKEN = {Status.BUILD_FAILED, Status.RUN_FAILED, Status.WRONG_SHAPE, Status.MIXES_SAMPLES, Status.CRASHED}


def test_sampled_kernels_are_measured() -> None:
    space = SearchSpace(SITES + proxy_sites(PROXY))
    rng = np.random.default_rng(1)
    kernels = [space.sample(rng) for _ in range(6)]
    with KernelEvaluator(SITES, config=CONFIG) as evaluator:
        measurements = evaluator.evaluate(kernels)
        best = max(measurements, key=lambda measurement: measurement.accuracy or 0.0)
        final = evaluator.train(next(graph for graph in kernels if graph.hash == best.kernel))
    assert not {measurement.status for measurement in measurements} & BROKEN
    assert sum(measurement.ok for measurement in measurements) >= 3
    for graph, measurement in zip(kernels, measurements, strict=True):
        assert measurement.kernel == graph.hash
        for figures in measurement.sites:
            cost = static_cost(graph, figures.site)
            assert (figures.flops, figures.params, figures.activation) == (cost.flops, cost.params, cost.activation)
    assert final.accuracy == best.accuracy
    assert replace(best, wall_time_s=0.0) == best
