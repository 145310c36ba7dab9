"""A stopwatch for CPUs."""

import math
import resource
import time

import torch

from canvas_rl.evaluation.timing import Call, PairTiming, Rounds
from canvas_rl.garbage import no_collections

TARGET_NOISE = 0.005
_BLOCK_S = 2e-4
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 200
_PATIENCE = 3


def time_on_cpu(calls: tuple[Call, Call], example: torch.Tensor, time_cap_s: float) -> PairTiming:
    """Time both calls in turn until the ratio is known to 0.5% or the time is up.

    A round runs each call as often as fills a fifth of a millisecond. Rounds in which the system took the processor
    away are left out if enough others are there, for which up to three times the cap is spent. At least five rounds
    are run, one if a round alone takes longer than five times the cap.
    """
    blocks = [_block_length(call, example) for call in calls]
    clean, disturbed = Rounds(), Rounds()
    start = time.perf_counter()
    with no_collections():
        while len(clean) + len(disturbed) < _MOST_ROUNDS:
            switches = _preemptions()
            seconds = [_time_block(call, example, block) for call, block in zip(calls, blocks, strict=True)]
            (clean if _preemptions() == switches else disturbed).add(*seconds)
            elapsed_s = time.perf_counter() - start
            if _enough(clean, elapsed_s, time_cap_s) or (len(disturbed) and elapsed_s > _PATIENCE * time_cap_s):
                break
    if len(clean) >= _FEWEST_ROUNDS or not len(disturbed):
        return clean.timing(TARGET_NOISE)
    return (clean + disturbed).timing(TARGET_NOISE, "the processor was busy with other work")


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
    if len(rounds) < _FEWEST_ROUNDS:
        return elapsed_s > 5 * time_cap_s
    return elapsed_s > time_cap_s or (len(rounds) >= 2 * _FEWEST_ROUNDS and rounds.noise < TARGET_NOISE)
