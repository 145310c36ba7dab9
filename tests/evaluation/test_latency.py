import copy
import itertools
import math
import platform
import subprocess
import sys
from typing import Any

import planted_kernels
import pytest
import torch
from torch import nn

from canvas_rl.errors import ConfigError, EvaluationError
from canvas_rl.evaluation import timing_cpu, timing_cuda
from canvas_rl.evaluation.floor import Floor, calibrate
from canvas_rl.evaluation.latency import LatencyConfig, measure_pair, network_latency
from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.evaluation.timing import PairTiming, fastest_of_visits

QUICK = LatencyConfig(time_cap_s=0.05)


class Clock:
    """Stands in for the stopwatch: time passes only where a module says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-8
        return self.now

    def module(self, *seconds: float) -> nn.Module:
        """A module whose calls take these seconds, over and over."""
        durations = itertools.cycle(seconds)

        class Timed(nn.Module):
            def __deepcopy__(self, _: object) -> nn.Module:
                return Timed()

            def forward(_, x: torch.Tensor) -> torch.Tensor:
                self.now += next(durations)
                return 2 * x

        return Timed()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing_cpu.time, "perf_counter", clock)
    return clock


def test_latencies_and_ratio_of_known_work(clock: Clock) -> None:
    measured = measure_pair(clock.module(1e-3), clock.module(4e-3), (4, 4), QUICK)
    assert measured.latency_s == pytest.approx(1e-3, rel=0.01)
    assert measured.reference_latency_s == pytest.approx(4e-3, rel=0.01)
    assert measured.speedup == pytest.approx(4, rel=0.01)
    assert measured.rounds == 10
    assert measured.noise < 1e-4


def test_other_work_on_the_machine_does_not_count(clock: Clock) -> None:
    busy = measure_pair(clock.module(1e-3, 1e-3, 9e-3, 9e-3, 9e-3), clock.module(2e-3, 3e-3), (4, 4), QUICK)
    assert busy.latency_s == pytest.approx(1e-3, rel=0.01)
    assert busy.reference_latency_s == pytest.approx(2e-3, rel=0.01)


def test_a_floor_that_half_of_the_rounds_miss_shows_as_noise(clock: Clock) -> None:
    half = measure_pair(clock.module(1e-3, 2e-3), clock.module(2e-3), (4, 4), QUICK)
    assert half.noise == pytest.approx(math.log(2) / 2, rel=0.01)
    assert "above the 0.5% aimed at" in half.note


def test_very_slow_calls_are_cut_short(clock: Clock) -> None:
    measured = measure_pair(clock.module(10.0), clock.module(1.0), (4,), LatencyConfig(time_cap_s=0.2))
    assert measured.rounds == 1
    assert measured.speedup == pytest.approx(0.1)
    assert measured.noise == 1
    assert "too slow" in measured.note


def test_the_time_cap_holds(clock: Clock) -> None:
    measure_pair(clock.module(1e-3, 2e-3, 3e-3), clock.module(1e-3), (4,), LatencyConfig(time_cap_s=0.5))
    assert clock.now < 0.6


def test_the_fastest_of_several_visits_counts() -> None:
    slow, quick = PairTiming(2e-3, 3e-3, 10, 0.001), PairTiming(1e-3, 4e-3, 5, 0.001)
    together = fastest_of_visits([slow, quick, slow, quick])
    assert (together.latency_s, together.reference_latency_s, together.rounds) == (1e-3, 3e-3, 30)
    assert together.noise == pytest.approx(math.log(8 / 3) / 2)
    assert "above the 0.5% aimed at" in together.note
    assert fastest_of_visits([slow]) is slow


@pytest.mark.parametrize(
    ("options", "visits"),
    [
        ({}, 10),
        ({"time_cap_s": 0.05}, 1),
        ({"time_cap_s": 0.8}, 20),
        ({"time_cap_s": 60.0}, 25),
        ({"mode": "compile"}, 1),
        ({"device": "cuda", "time_cap_s": 1.0}, 1),
    ],
)
def test_a_search_divides_the_time_of_a_site_into_visits(options: dict[str, Any], visits: int) -> None:
    config = LatencyConfig(**options)
    assert config.visits == visits
    assert config.one_visit.cap_s * visits == pytest.approx(config.cap_s)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_kept_memory_is_not_asked_for_again() -> None:
    program = (
        "import resource, torch\n"
        "from canvas_rl.evaluation.timing_cpu import time_on_cpu\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def use(x):\n"
        "    before = faults()\n"
        "    torch.zeros(2**24)\n"
        "    found.append(faults() - before)\n"
        "found = []\n"
        "time_on_cpu((use, use), torch.zeros(1), 0.1)\n"
        "while_timed = found[-1]\n"
        "use(None)\n"
        "print(while_timed, found[-1])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    while_timed, afterwards = map(int, found.stdout.split())
    if afterwards < 1000:
        pytest.skip(f"64 MiB take {afterwards} page faults here: nothing to save")
    assert while_timed < 100


def test_fast_calls_are_timed_in_blocks(clock: Clock) -> None:
    calls = 0

    def call(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        clock.now += 1e-6
        return x

    measured = timing_cpu.time_on_cpu((call, call), torch.zeros(1), 0.05)
    assert calls > 2 * 150 * measured.rounds
    assert measured.latency_s == pytest.approx(1e-6, rel=0.05)


def test_modules_and_threads_are_left_as_they_were() -> None:
    module = planted_kernels.Good(4)
    before = copy.deepcopy(module.state_dict())
    threads = torch.get_num_threads()
    measure_pair(
        module, planted_kernels.Good(4), (4, 8, 8), LatencyConfig(threads=2, dtype="bfloat16", time_cap_s=0.02)
    )
    assert module.training
    assert torch.get_num_threads() == threads
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_dtype_batch_and_layout_reach_the_module(dtype: str, channels_last: bool) -> None:
    seen: list[torch.Tensor] = []

    class Recording(planted_kernels.Good):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            assert not torch.is_grad_enabled()
            assert not self.training
            return super().forward(x)

    config = LatencyConfig(dtype=dtype, batch_size=3, channels_last=channels_last, time_cap_s=0.01)
    measure_pair(Recording(4), planted_kernels.Good(4), (4, 8, 8), config)
    assert seen[0].shape == (3, 4, 8, 8)
    assert seen[0].dtype is config.torch_dtype
    assert seen[0].is_contiguous(memory_format=torch.channels_last) is channels_last


def test_channels_last_is_for_convolutions_alone() -> None:
    class Odd(planted_kernels.Good):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.deep = nn.Parameter(torch.randn(2, 2, 2, 2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert self.conv.weight.is_contiguous(memory_format=torch.channels_last)
            assert self.deep.is_contiguous()
            return super().forward(x)

    measure_pair(Odd(4), planted_kernels.Good(4), (4, 8, 8), LatencyConfig(channels_last=True, time_cap_s=0.01))


@pytest.mark.parametrize(("kind", "status"), [("cheat", Status.OUTPUT_CHANGED), ("nan", Status.NOT_FINITE)])
def test_wrong_outputs_are_refused(kind: str, status: Status) -> None:
    with pytest.raises(Rejection) as caught:
        measure_pair(planted_kernels.KINDS[kind](4), planted_kernels.Good(4), (4, 8, 8), QUICK)
    assert caught.value.status is status


def test_compiled_kernels_are_timed() -> None:
    measured = measure_pair(nn.GELU(), nn.ReLU(), (2, 4, 4), LatencyConfig(mode="compile", time_cap_s=0.01))
    assert measured.latency_s > 0
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 2


def test_whole_networks_are_measured_alike_at_the_asked_batch(clock: Clock) -> None:
    slow = nn.Sequential(clock.module(2e-3), nn.Flatten(), nn.Linear(12, 3))
    fast = nn.Sequential(clock.module(1e-3), nn.Flatten(), nn.Linear(12, 3))
    shapes = set()
    fast[1].register_forward_hook(lambda _, inputs, __: shapes.add(tuple(inputs[0].shape)))
    measured = network_latency(fast, slow, torch.randn(2, 3, 4), LatencyConfig(batch_size=3, time_cap_s=0.05))
    assert measured.speedup == pytest.approx(2, rel=0.01)
    assert shapes == {(3, 3, 4)}


def test_a_network_that_can_not_be_timed_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="not_finite"):
        network_latency(planted_kernels.Nan(4), planted_kernels.Good(4), torch.randn(1, 4, 8, 8), QUICK)


def test_a_whole_network_may_give_an_object_with_its_scores() -> None:
    class Wrapped(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"hidden": x, "logits": x.mean((2, 3))}

    measured = network_latency(Wrapped(), Wrapped(), torch.randn(1, 3, 4, 4), QUICK)
    assert measured.latency_s > 0


def test_a_whole_network_without_a_tensor_in_its_output_is_refused() -> None:
    class Mute(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[()]:
            return ()

    with pytest.raises(ConfigError, match="a tuple without a tensor"):
        network_latency(Mute(), Mute(), torch.randn(1, 3, 4, 4), QUICK)


def test_floor_is_below_what_real_layers_take() -> None:
    floor = calibrate(LatencyConfig())
    assert 1e8 < floor.flops_per_s < 1e13
    assert 1e8 < floor.bytes_per_s < 1e13
    for channels, size in ((32, 28), (64, 14)):
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        measured = measure_pair(conv, conv, (channels, size, size), QUICK)
        inputs = channels * size * size
        flops = 2 * conv.weight.numel() * size * size
        assert floor.seconds(flops, 4 * (inputs + conv.weight.numel())) < measured.latency_s


def test_floor_takes_the_slower_of_arithmetic_and_memory() -> None:
    floor = Floor(flops_per_s=100.0, bytes_per_s=10.0, slack=0.5)
    assert floor.seconds(1000, 1) == pytest.approx(0.5 * 1000 / 2.5 / 100)
    assert floor.seconds(1, 1000) == pytest.approx(0.5 * 1000 / 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu': expected one of cpu, cuda"),
        ({"dtype": "int8"}, "dtype is 'int8': expected one of float32, bfloat16, float16"),
        ({"mode": "fast"}, "mode is 'fast': expected one of eager, compile"),
        ({"batch_size": 0}, "batch_size is 0: expected a whole number of at least 1"),
        ({"threads": -1}, "threads is -1: expected"),
        ({"time_cap_s": 0}, "time_cap_s is 0: expected seconds above 0"),
    ],
)
def test_bad_options_are_refused_with_a_sentence(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LatencyConfig(**options)
    assert str(caught.value).startswith(message)


def test_config_json_round_trip() -> None:
    config = LatencyConfig(dtype="bfloat16", batch_size=4, channels_last=True, mode="compile", threads=2)
    assert LatencyConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="unknown latency option 'speed'"):
        LatencyConfig.from_json({"speed": 1})


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_cuda_graph_timing(dtype: str, mode: str) -> None:
    config = LatencyConfig(device="cuda", dtype=dtype, mode=mode, batch_size=32, channels_last=True)
    narrow, wide = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 7, padding=3)
    measured = measure_pair(narrow, wide, (64, 56, 56), config)
    assert "CUDA graph" not in measured.note
    assert measured.speedup > 1.5
    assert measured.noise < 0.05


@pytest.mark.cuda
def test_cuda_timing_without_a_graph_is_noted() -> None:
    class Synchronising(planted_kernels.Good):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (1 + 0 * float(x.flatten()[0]))

    config = LatencyConfig(device="cuda", batch_size=8)
    measured = measure_pair(Synchronising(64), planted_kernels.Good(64), (64, 28, 28), config)
    assert "without a CUDA graph" in measured.note


class FragileKernel(nn.Module):
    """Finite for the first input it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.first: float | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = float(x.sum())
        self.first = total if self.first is None else self.first
        return x if total == self.first else x * torch.nan


def test_an_output_that_is_not_finite_for_fresh_inputs_is_named() -> None:
    with pytest.raises(Rejection, match="not finite") as caught:
        measure_pair(FragileKernel(), nn.Identity(), (4, 4, 4), LatencyConfig(time_cap_s=0.01))
    assert caught.value.status is Status.NOT_FINITE


def test_tensors_are_placed_apart_with_their_strides() -> None:
    tensors = [
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(7),
        torch.randn(3).half(),
    ]
    memory = timing_cuda._Memory(tensors * 2, torch.device("cpu"))
    copies = [memory.place(tensor) for tensor in tensors * 2]
    for copied, tensor in zip(copies, tensors * 2, strict=True):
        assert torch.equal(copied, tensor)
        assert copied.stride() == tensor.stride()
    ends = [(copied.data_ptr(), copied.data_ptr() + copied.nbytes) for copied in copies]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))


def test_tensors_too_large_for_a_buffer_stay_where_they_are() -> None:
    large = torch.empty(4)
    memory = timing_cuda._Memory([torch.empty(2**30, dtype=torch.uint8, device="meta")], torch.device("cpu"))
    assert memory.place(large) is large
