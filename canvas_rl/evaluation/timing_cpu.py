"""A stopwatch for CPUs."""

import ctypes
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from canvas_rl.evaluation.timing import Call, PairTiming, Rounds
from canvas_rl.garbage import no_collections

_BLOCK_S = 2e-4
_FEWEST_ROUNDS = 5
_PATIENCE = 5
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}
_NOT_KEEPING = {_MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}  # where its own adjustment ends


@contextmanager
def memory_kept() -> Iterator[None]:
    """Within, freed memory stays with this process, as with the allocators that servers use; then it is given back.

    glibc gives large blocks back to the system, or not, depending on what was freed before. Some kernels had thousands
    of page faults at every call and took several times as long, in one process and not in the next. Other C libraries
    are left as they are.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    for parameter, value in _KEEPING.items():
        library.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _NOT_KEEPING.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)


def time_is_up(rounds: int, seconds: float, time_cap_s: float) -> bool:
    """Whether timing ends: after the cap, or five times the cap while there are fewer than five rounds."""
    return seconds > time_cap_s * (1 if rounds >= _FEWEST_ROUNDS else _PATIENCE)


def time_on_cpu(calls: tuple[Call, Call], example: torch.Tensor, time_cap_s: float) -> PairTiming:
    """Time both calls in turn until the time is up; the fastest round of each is its latency.

    Other work on the machine can only slow a round down: it takes the processor away, or its caches and memory. A
    round runs each call as often as fills a fifth of a millisecond. Memory that the calls free is kept meanwhile.
    """
    rounds = Rounds()
    seconds = 0.0
    with memory_kept(), no_collections():
        blocks = [_block_length(call, example) for call in calls]
        start = time.perf_counter()
        while not time_is_up(len(rounds), seconds, time_cap_s):
            rounds.add(*(_time_block(call, example, block) for call, block in zip(calls, blocks, strict=True)))
            seconds = time.perf_counter() - start
    return replace(rounds.fastest(), seconds=seconds)


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
