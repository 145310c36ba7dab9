"""Stopwatches: two calls timed in turn on a CPU or on a CUDA device."""

import gc
import math
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Call = Callable[[torch.Tensor], torch.Tensor]
Rounds = tuple[list[float], list[float]]

_BLOCK_S = 2e-4
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 200
_TARGET_NOISE = 0.005
_PATIENCE = 3
_CUDA_WARMUP = 3
_CUDA_CHUNK = 10


@dataclass(frozen=True)
class PairTiming:
    """Median latencies of a candidate and its reference, timed in turn."""

    latency_s: float
    reference_latency_s: float
    rounds: int
    noise: float
    """relative standard error of the ratio, estimated from the rounds' spread"""
    note: str = ""
    """what was not as planned, such as a failed graph capture"""

    @property
    def speedup(self) -> float:
        """Reference latency over latency."""
        return self.reference_latency_s / self.latency_s


def time_on_cpu(calls: tuple[Call, Call], example: torch.Tensor, time_cap_s: float) -> PairTiming:
    """Time both calls in turn until the ratio is known to 0.5% or the time is up.

    A round runs each call as often as fills a fifth of a millisecond. Rounds in which the system took the processor
    away are left out if enough others are there, for which up to three times the cap is spent. At least five rounds
    are run, one if a round alone takes longer than five times the cap.
    """
    blocks = [_block_length(call, example) for call in calls]
    clean: Rounds = ([], [])
    disturbed: Rounds = ([], [])
    start = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(clean[0]) + len(disturbed[0]) < _MOST_ROUNDS:
            switches = _preemptions()
            seconds = [_time_block(call, example, block) for call, block in zip(calls, blocks, strict=True)]
            for kept, value in zip(clean if _preemptions() == switches else disturbed, seconds, strict=True):
                kept.append(value)
            elapsed_s = time.perf_counter() - start
            if _enough(clean, elapsed_s, time_cap_s) or (len(disturbed[0]) and elapsed_s > _PATIENCE * time_cap_s):
                break
    finally:
        if collecting:
            gc.enable()
    if len(clean[0]) >= _FEWEST_ROUNDS or not disturbed[0]:
        return _summary(clean)
    return _summary((clean[0] + disturbed[0], clean[1] + disturbed[1]), "the processor was busy with other work")


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _block_length(call: Call, example: torch.Tensor) -> int:
    call(example)
    once = _time_block(call, example, 1)
    if once < _BLOCK_S:
        once = min(once, _time_block(call, example, 5))
    return max(1, math.ceil(_BLOCK_S / max(once, 1e-9)))


def _time_block(call: Call, example: torch.Tensor, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call(example)
    return (time.perf_counter() - start) / repeats


def _enough(rounds: Rounds, elapsed_s: float, time_cap_s: float) -> bool:
    if len(rounds[0]) < _FEWEST_ROUNDS:
        return elapsed_s > 5 * time_cap_s
    return elapsed_s > time_cap_s or (len(rounds[0]) >= 2 * _FEWEST_ROUNDS and _noise(rounds) < _TARGET_NOISE)


def _noise(rounds: Rounds) -> float:
    """Relative standard error of the median ratio (1.25 sigma / sqrt(n), sigma from the median deviation)."""
    logs = [math.log(max(own, 1e-12) / max(other, 1e-12)) for own, other in zip(*rounds, strict=True)]
    middle = statistics.median(logs)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in logs)
    return 1.2533 * deviation / math.sqrt(len(logs))


def _summary(rounds: Rounds, note: str = "") -> PairTiming:
    own, other = (max(statistics.median(seconds), 1e-12) for seconds in rounds)
    return PairTiming(own, other, len(rounds[0]), _noise(rounds), note)


def time_on_cuda(calls: tuple[Call, Call], example: torch.Tensor, time_cap_s: float) -> tuple[PairTiming, Call]:
    """Time CUDA-graph replays of both calls in turn, each after a flush of the L2 cache.

    A call that can't be captured runs eagerly, which the note of the timing says.

    Returns:
        the timing, and the first call as it was timed (it reads its input from `example`'s memory).
    """
    captured = [_capture(call, example) for call in calls]
    note = "; ".join(message for _, message in captured if message)
    flush = torch.empty(_flush_bytes(), dtype=torch.int8, device=example.device)
    rounds: Rounds = ([], [])
    start = time.perf_counter()
    while len(rounds[0]) < _MOST_ROUNDS:
        events = [
            [_launch(replay, example, flush) for replay, _ in captured]
            for _ in range(_CUDA_CHUNK if rounds[0] else _FEWEST_ROUNDS)
        ]
        torch.cuda.synchronize()
        for pair in events:
            for (before, after), seconds in zip(pair, rounds, strict=True):
                seconds.append(before.elapsed_time(after) / 1e3)
        if _enough(rounds, time.perf_counter() - start, time_cap_s):
            break
    return _summary(rounds, note), captured[0][0]


def _flush_bytes() -> int:
    """Twice the L2 cache, at least 128 MiB."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return max(2 * int(getattr(properties, "L2_cache_size", 0)), 2**27)


def _launch(call: Call, example: torch.Tensor, flush: torch.Tensor) -> tuple[torch.cuda.Event, torch.cuda.Event]:
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    flush.zero_()  # also keeps the device busy while the launches below are queued
    before.record()
    call(example)
    after.record()
    return before, after


def _capture(call: Call, example: torch.Tensor) -> tuple[Call, str]:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_CUDA_WARMUP):
            call(example)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            output = call(example)
    except RuntimeError as error:
        torch.cuda.synchronize()
        return call, f"timed without a CUDA graph ({str(error).splitlines()[0]})"

    def replay(_: torch.Tensor) -> torch.Tensor:
        graph.replay()
        return output

    return replay, ""
