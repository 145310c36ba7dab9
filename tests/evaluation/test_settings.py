import json

import pytest

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.proxy import ProxyConfig
from canvas_rl.evaluation.settings import EvaluationConfig


@pytest.mark.parametrize(
    "config",
    [
        EvaluationConfig(),
        EvaluationConfig(LatencyConfig(batch_size=2), None, 10.0, 2**30, 3, 5),
        EvaluationConfig(proxy=ProxyConfig(epochs=3), compile_limit_s=7.0, skip_slower=1.5),
    ],
)
def test_json_round_trip(config: EvaluationConfig) -> None:
    assert EvaluationConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit_s": 0}, "time_limit_s is 0: expected seconds above 0"),
        ({"compile_limit_s": -1.0}, "compile_limit_s is -1.0: expected seconds above 0"),
        ({"memory_limit": 1}, "memory_limit is 1: expected at least"),
        ({"workers": -1}, "workers is -1: expected a whole number"),
        ({"seed": -1}, "seed is -1: expected a whole number"),
    ],
)
def test_bad_options_are_refused_with_a_sentence(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig(**options)
    assert str(caught.value).startswith(message)


def test_unknown_options_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown evaluation option 'wrokers'"):
        EvaluationConfig.from_json({"wrokers": 1})


def test_worker_count_is_chosen_from_the_device() -> None:
    assert EvaluationConfig(workers=3).worker_count == 3
    assert EvaluationConfig(workers=0).worker_count >= 1
    assert EvaluationConfig(LatencyConfig(device="cuda"), workers=0).worker_count == 1


def test_cuda_memory_grows_with_the_batch_that_is_timed() -> None:
    limits = [EvaluationConfig(LatencyConfig(batch_size=size)).device_memory_limit for size in (1, 2, 32)]
    assert limits == [6 * 2**30, 6 * 2**30, 66 * 2**30]
