"""A stopwatch for CUDA devices: CUDA graphs of many runs, with an event before and after each."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from canvas_rl.evaluation.timing import Call, PairTiming, Rounds, Timed

_TARGET_NOISE = 0.002
_WARM_UP = 3
_PLACEMENTS = 4
_MOST_RUNS = 6
_WARM_RUN_S, _WARM_REPEATS, _WARM_REPLAYS = 1e-3, (20, 200), 2
_FEWEST_REPLAYS, _MOST_REPLAYS = 3, 30
_BUFFER_BYTES = 2**29
_ALIGNMENT = 256

Pair = tuple[Timed, Timed]


def time_on_cuda(pair: Pair, example: Tensor, time_cap_s: float, cold: bool = True) -> tuple[PairTiming, Call]:
    """Time two calls in turn until the ratio is known to 0.2% or the time is up.

    Where weights and inputs lie in memory changes a latency by percents, so both are moved to four random places, one
    after the other. At each place a CUDA graph of up to six runs of each call is replayed at least three times. The
    events are nodes of the graph, so that no launch is timed; a call that can't be captured runs eagerly, which the
    note of the timing says.

    Args:
        pair: the candidate and its reference.
        example: an input.
        time_cap_s: seconds for all replays together.
        cold: before every run, overwrite the L2 cache and take another input. Warm: a run is the mean of 20 to 200 in a
            row with one input, a millisecond's worth: what a run's events take would add to a short one. A graph has
            one run, as thousands of nodes slow it down, and the second of two replays counts: what the other call left
            in the cache slows the first down.

    Returns:
        the timing, and the candidate as it was timed.
    """
    pair_s = _warm_up(pair, example)
    repeats = 1 if cold else min(max(math.ceil(_WARM_RUN_S / pair_s), _WARM_REPEATS[0]), _WARM_REPEATS[1])
    bound = int(time_cap_s / (_PLACEMENTS * (1 + _FEWEST_REPLAYS) * pair_s * repeats))
    count = max(1, min(_MOST_RUNS, bound, _BUFFER_BYTES // (2 * _PLACEMENTS * example.nbytes))) if cold else 1
    weights = [weight for timed in pair for weight in timed.module.parameters()]
    homes = [weight.data for weight in weights]
    memory = _Memory((weights + [example] * count) * _PLACEMENTS, example.device)
    flush = _flush_buffer(example.device) if cold else None
    rounds = Rounds()
    start = time.perf_counter()
    for _ in range(_PLACEMENTS):
        for weight in weights:
            weight.data = memory.place(weight.data)
        inputs = [memory.place(example) for _ in range(count)]
        series = [_Series(timed.call, inputs, repeats, flush) for timed in pair]
        _replay(series, rounds, time_cap_s / _PLACEMENTS, 1 if cold else _WARM_REPLAYS)
    for weight, home in zip(weights, homes, strict=True):
        weight.data = home
    candidate = series[0]

    def as_timed(x: Tensor) -> Tensor:
        inputs[-1].copy_(x)
        candidate.replay()
        return candidate.outputs[-1]

    timing = rounds.medians(*dict.fromkeys(runs.note for runs in series))
    return replace(timing, seconds=time.perf_counter() - start), as_timed


def _replay(series: list["_Series"], rounds: Rounds, time_cap_s: float, in_a_row: int) -> None:
    """Add rounds, each of the last of some replays in a row, until they suffice or the time is up."""
    for runs in series:
        runs.replay()  # the first time takes the graph to the device
    torch.cuda.synchronize()
    start = time.perf_counter()
    for replays in range(1, _MOST_REPLAYS + 1):
        for runs in series:
            for _ in range(in_a_row):
                runs.replay()
        torch.cuda.synchronize()
        for seconds in zip(*(runs.seconds() for runs in series), strict=True):
            rounds.add(*seconds)
        elapsed_s = time.perf_counter() - start
        if replays >= _FEWEST_REPLAYS and (rounds.noise < _TARGET_NOISE or elapsed_s > time_cap_s):
            break


class _Series:
    """Runs of one call, captured as a graph if that is possible.

    Args:
        call: what is timed.
        inputs: one for each run.
        repeats: how often a run calls.
        flush: overwritten before each run; None: nothing is.
    """

    def __init__(self, call: Call, inputs: list[Tensor], repeats: int, flush: Tensor | None) -> None:
        self.outputs: list[Tensor] = []
        """Of the runs, all kept so that each lies elsewhere."""
        self.note = ""
        self._call, self._inputs, self._repeats, self._flush = call, inputs, repeats, flush
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.replay = self._capture()

    def seconds(self) -> list[float]:
        """Of one call in each run of the last replay, which must have ended."""
        return [before.elapsed_time(after) / 1e3 / self._repeats for before, after in self._events]

    def _capture(self) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._launch(external=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:  # a call that waits for the device; a PyTorch without such events
            torch.cuda.synchronize()
            self.note = f"timed without a CUDA graph ({str(error).splitlines()[0]})"
            return self._launch
        return graph.replay

    def _launch(self, **event_options: Any) -> None:
        self.outputs, self._events = [], []
        for x in self._inputs:
            before, after = (
                torch.cuda.Event(enable_timing=True, **event_options)  # type: ignore[no-untyped-call]
                for _ in range(2)
            )
            if self._flush is not None:
                self._flush.zero_()
            else:
                self._call(x)  # so that input and weights are in the cache
            before.record()
            for _ in range(self._repeats - 1):
                self._call(x)  # not kept: the next call writes to the same memory
            output = self._call(x)
            after.record()
            self.outputs.append(output)
            self._events.append((before, after))


class _Memory:
    """A buffer in which tensors are put one after the other, with random gaps.

    Args:
        tensors: of the sizes of all that will be put there.
        device: where.
    """

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        needed = sum(map(_padded, tensors))
        self._large = needed > _BUFFER_BYTES  # then its parts lie all over the memory anyway
        self._gap = 1 + _BUFFER_BYTES // (len(tensors) * _ALIGNMENT)
        size = 0 if self._large else needed + self._gap * len(tensors) * _ALIGNMENT
        self._buffer = torch.empty(size, dtype=torch.uint8, device=device)
        self._random, self._end = random.Random(), 0

    def place(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor, with its strides; the tensor itself where all of them are too large for a buffer."""
        if self._large:
            return tensor
        start = self._end + self._random.randrange(self._gap) * _ALIGNMENT
        self._end = start + _padded(tensor)
        copy = self._buffer[start : self._end].view(tensor.dtype).as_strided(tensor.size(), tensor.stride())
        return copy.copy_(tensor)


def _padded(tensor: Tensor) -> int:
    """Bytes from the first element of a tensor to its last, rounded up."""
    elements = 1 + sum((size - 1) * step for size, step in zip(tensor.size(), tensor.stride(), strict=True))
    return -(-elements * tensor.itemsize // _ALIGNMENT) * _ALIGNMENT


def _warm_up(pair: Pair, example: Tensor) -> float:
    """Run both on a stream of their own, as graph capture wants it; the seconds of the last run of both."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for timed in pair:
                timed.call(example)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _flush_buffer(device: torch.device) -> Tensor:
    """Twice the L2 cache, at least 128 MiB."""
    cache = int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
    return torch.empty(max(2 * cache, 2**27), dtype=torch.int8, device=device)
