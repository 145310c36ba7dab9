"""The cost model orders kernels that it has not seen, repeats itself, and says what it lacks."""

import builtins
from typing import Any

import numpy as np
import pytest

from canvas_rl.errors import ConfigError, MissingDependencyError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.cost_model import FEWEST_KERNELS, CostModel
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space
from canvas_rl.symbolic.site import Site

SITES = (Site(16, 16, 16), Site(32, 8, 8))


@pytest.fixture(scope="module")
def timed() -> tuple[list[KernelGraph], list[list[float]]]:
    space, rng = SearchSpace(SITES, default_space()), np.random.default_rng(0)
    kernels = [space.sample(rng) for _ in range(150)]
    measured = AnalyticEvaluator(SITES).evaluate(kernels)
    noise = np.exp(rng.normal(0, 0.02, (len(kernels), len(SITES))))
    latencies = [[float(figures.latency_s or 0) for figures in result.sites] for result in measured]
    return kernels, (np.array(latencies) * noise).tolist()


def test_it_predicts_kernels_that_it_has_not_seen(timed: tuple[list[KernelGraph], list[list[float]]]) -> None:
    kernels, latencies = timed
    predicted = CostModel(kernels[:100], latencies[:100], SITES).predict(kernels[100:])
    assert predicted.shape == (50, len(SITES))
    errors = np.abs(predicted / np.array(latencies[100:]) - 1)
    spread = np.array(latencies).max() / np.array(latencies).min()
    assert spread > 3, "latencies so alike that any model would do"
    assert np.median(errors) < 0.1


def test_the_same_seed_gives_the_same_model(timed: tuple[list[KernelGraph], list[list[float]]]) -> None:
    kernels, latencies = timed
    one, other = (CostModel(kernels[:60], latencies[:60], SITES, seed=3).predict(kernels[60:70]) for _ in range(2))
    assert np.array_equal(one, other)


def test_a_kind_of_primitive_that_was_never_timed_is_no_error(
    timed: tuple[list[KernelGraph], list[list[float]]],
) -> None:
    kernels, latencies = timed
    plain = [index for index, kernel in enumerate(kernels) if "unfold" not in " ".join(kernel.program)]
    model = CostModel([kernels[index] for index in plain], [latencies[index] for index in plain], SITES)
    others = [kernel for kernel in kernels if "unfold" in " ".join(kernel.program)]
    assert np.isfinite(model.predict(others)).all()


def test_no_kernels_are_no_predictions(timed: tuple[list[KernelGraph], list[list[float]]]) -> None:
    kernels, latencies = timed
    assert CostModel(kernels[:60], latencies[:60], SITES).predict([]).shape == (0, len(SITES))


def test_too_few_kernels_are_refused(timed: tuple[list[KernelGraph], list[list[float]]]) -> None:
    kernels, latencies = timed
    with pytest.raises(ConfigError, match=f"3 kernels are too few for a cost model: expected {FEWEST_KERNELS} or more"):
        CostModel(kernels[:3], latencies[:3], SITES)


def test_a_missing_library_is_named(
    timed: tuple[list[KernelGraph], list[list[float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        CostModel(*timed, SITES)
