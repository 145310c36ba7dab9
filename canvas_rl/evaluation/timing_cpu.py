"""A stopwatch for CPUs."""

import ctypes
import math
import time

import torch

from canvas_rl.evaluation.timing import Call, PairTiming, Rounds
from canvas_rl.garbage import no_collections

_BLOCK_S = 2e-4
_FEWEST_ROUNDS = 5
_PATIENCE = 5
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of glibc's mallopt


def keep_memory() -> None:
    """From now on, freed memory stays with this process, as with the allocators that servers use.

    glibc gives large blocks back to the system, or not, depending on what was freed before. Some kernels had thousands
    of page faults at every call and took several times as long, in one process and not in the next. Other C libraries
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)


def time_on_cpu(calls: tuple[Call, Call], example: torch.Tensor, time_cap_s: float) -> PairTiming:
    """Time both calls in turn until the time is up; the fastest round of each is its latency.

    Other work on the machine can only slow a round down: it takes the processor away, or its caches and memory. A
    round runs each call as often as fills a fifth of a millisecond. Fewer than five rounds are run only where five
    times the cap is over before.
    """
    blocks = [_block_length(call, example) for call in calls]
    rounds = Rounds()
    start = time.perf_counter()
    with no_collections():
        while True:
            rounds.add(*(_time_block(call, example, block) for call, block in zip(calls, blocks, strict=True)))
            elapsed_s = time.perf_counter() - start
            if elapsed_s > time_cap_s * (1 if len(rounds) >= _FEWEST_ROUNDS else _PATIENCE):
                return rounds.fastest()


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
