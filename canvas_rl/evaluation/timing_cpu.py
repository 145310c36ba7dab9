"""A stopwatch for CPUs."""

import math
import time

import torch

from canvas_rl.evaluation.timing import Call, PairTiming, Rounds
from canvas_rl.garbage import no_collections

TARGET_NOISE = 0.005
_BLOCK_S = 2e-4
_FEWEST_ROUNDS = 5
_PATIENCE = 5


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
                return rounds.fastest(TARGET_NOISE)


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
