"""The analytic evaluator on real kernels: deterministic, and it ranks what is known to be better higher."""

import numpy as np
import pytest

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.analytic import AnalyticEvaluator, receptive_pixels
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = (Site(64, 28, 28), Site(128, 14, 14))


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace(SITES)


@pytest.fixture(scope="module")
def kernels(space: SearchSpace) -> list[KernelGraph]:
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(20)]


def test_figures_are_deterministic_complete_and_in_range(kernels: list[KernelGraph]) -> None:
    evaluator = AnalyticEvaluator(SITES)
    first = evaluator.evaluate(kernels)
    assert first == AnalyticEvaluator(SITES).evaluate(kernels)
    assert [measurement.kernel for measurement in first] == [graph.hash for graph in kernels]
    for measurement in first:
        assert measurement.ok
        assert measurement.speedup is not None
        assert measurement.speedup > 0
        assert measurement.quality is not None
        assert 0 <= measurement.quality <= 0.95
    assert len({measurement.speedup for measurement in first}) > 10
    assert len({measurement.quality for measurement in first}) > 10


def test_reference_is_the_best_quality_at_speedup_one() -> None:
    reference = AnalyticEvaluator(SITES).reference
    assert (reference.speedup, reference.quality) == (1.0, 0.95)
    assert [figures.speedup for figures in reference.sites] == [1.0, 1.0]


def test_a_costlier_reference_makes_every_kernel_faster(kernels: list[KernelGraph]) -> None:
    narrow = AnalyticEvaluator(SITES, [ReferenceConv(3)] * 2)
    wide = AnalyticEvaluator(SITES, [ReferenceConv(7)] * 2)
    assert narrow.fingerprint != wide.fingerprint
    for one, other in zip(narrow.evaluate(kernels), wide.evaluate(kernels), strict=True):
        assert one.speedup is not None
        assert other.speedup is not None
        assert other.speedup > one.speedup


def test_a_kernel_that_does_not_fit_is_a_status(kernels: list[KernelGraph]) -> None:
    (measurement,) = AnalyticEvaluator((Site(64),)).evaluate(kernels[:1])
    assert not measurement.ok
    assert measurement.message


def test_receptive_field_is_within_the_image(kernels: list[KernelGraph]) -> None:
    pixels = [receptive_pixels(graph, SITES[1]) for graph in kernels]
    assert min(pixels) >= 1
    assert max(pixels) <= 14 * 14
    assert len(set(pixels)) > 1


def test_references_must_match_the_sites() -> None:
    with pytest.raises(ConfigError, match="1 references were given for 2 sites"):
        AnalyticEvaluator(SITES, [ReferenceConv()])
