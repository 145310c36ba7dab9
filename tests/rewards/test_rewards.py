"""What every registered reward promises."""

import itertools
import json
from dataclasses import replace

import pytest

from canvas_rl.errors import ConfigError, UnknownNameError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.rewards import REWARDS, LatencyUnderQuality, MnasNet, make_reward

REFERENCE = Measurement("reference", Status.OK, speedup=1.0, quality=0.9)
QUALITIES = [0.0, 0.01, 0.3, 0.8, 0.86, 0.88, 0.9, 0.95, 1.0, 3.0]
SPEEDUPS = [1e-12, 0.01, 0.3, 0.99, 1.0, 1.5, 4.0, 11.0, 1e9]

every_reward = pytest.mark.parametrize("name", REWARDS.names())


def kernel(quality: float | None, speedup: float | None, status: Status = Status.OK) -> Measurement:
    return Measurement("k", status, speedup=speedup, quality=quality)


@every_reward
@pytest.mark.parametrize("reference_quality", [0.0, 0.02, 0.5, 1.0])
def test_values_stay_in_the_declared_range(name: str, reference_quality: float) -> None:
    reward = make_reward(name)
    low, high = reward.range
    assert low < high
    reference = replace(REFERENCE, quality=reference_quality)
    for quality, speedup in itertools.product(QUALITIES, SPEEDUPS):
        assert low <= reward(kernel(quality, speedup), reference) <= high


@every_reward
def test_better_figures_never_earn_less(name: str) -> None:
    reward = make_reward(name)
    for speedup in SPEEDUPS:
        values = [reward(kernel(quality, speedup), REFERENCE) for quality in QUALITIES]
        assert values == sorted(values)
    for quality in QUALITIES:
        values = [reward(kernel(quality, speedup), REFERENCE) for speedup in SPEEDUPS]
        assert values == sorted(values)


@every_reward
def test_both_figures_matter_near_the_reference(name: str) -> None:
    reward = make_reward(name)
    base = reward(kernel(0.9, 2.0), REFERENCE)
    assert reward(kernel(0.9, 4.0), REFERENCE) > base
    assert reward(kernel(0.5, 2.0), REFERENCE) < base


@every_reward
@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_failures_earn_the_least(name: str, status: Status) -> None:
    reward = make_reward(name)
    assert reward(kernel(1.0, 10.0, status), REFERENCE) == reward.range[0]


@every_reward
def test_missing_figures_earn_the_least(name: str) -> None:
    reward = make_reward(name)
    assert reward(kernel(None, 10.0), REFERENCE) == reward(kernel(1.0, None), REFERENCE) == reward.range[0]


@every_reward
def test_the_test_split_is_never_looked_at(name: str) -> None:
    reward = make_reward(name)
    assert reward.deterministic
    measurement = kernel(0.85, 2.0)
    assert reward(measurement, REFERENCE) == reward(replace(measurement, test_accuracy=1.0), REFERENCE)


@every_reward
def test_json_spec_makes_the_reward_again(name: str) -> None:
    reward = make_reward(name)
    assert make_reward(json.loads(json.dumps(reward.to_json()))) == reward


def test_the_reference_has_one_by_default() -> None:
    assert make_reward()(REFERENCE, REFERENCE) == pytest.approx(1.0)


def test_mnasnet_is_the_product_of_powers_with_a_clipped_ratio() -> None:
    reward = MnasNet(alpha=2.0, beta=-0.5, fastest=0.1)
    assert reward(kernel(0.45, 4.0), REFERENCE) == pytest.approx(0.5**2 * 4.0**0.5)
    assert reward(kernel(0.9, 100.0), REFERENCE) == pytest.approx(10**0.5)


def test_speed_counts_only_once_the_quality_is_good_enough() -> None:
    reward = LatencyUnderQuality(tolerance=0.05, most_speedup=10)
    assert reward(kernel(0.84, 9.0), REFERENCE) == reward(kernel(0.84, 1.0), REFERENCE) < 1
    assert reward(kernel(0.86, 10.0), REFERENCE) == 2.0
    assert reward(kernel(0.86, 1.0), REFERENCE) == 1.5


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "mnasnet", "alpha": 0},
        {"name": "mnasnet", "beta": 0.5},
        {"name": "mnasnet", "fastest": 2},
        {"name": "latency_under_quality", "tolerance": -1},
        {"name": "latency_under_quality", "most_speedup": 1},
        {"alpha": 1.0},
    ],
)
def test_bad_specs_are_refused(spec: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        make_reward(spec)


def test_unknown_names_and_options_get_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mnasnet'"):
        make_reward("mnasnett")
    with pytest.raises(ConfigError, match=r"no option 'alhpa'.*Did you mean 'alpha'"):
        make_reward({"name": "mnasnet", "alhpa": 1})
