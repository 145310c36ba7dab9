"""The course of a run: what was best, and what the Pareto front held, after each evaluation."""

from dataclasses import dataclass

from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.report.reading import Run
from canvas_rl.study.front import Nondominated, objectives_of

_NO_REFERENCE = Measurement("reference", Status.OK)
"""Parameters saved count from none: the order of kernels is the same, and no hypervolume is shown then."""


@dataclass(frozen=True)
class Course:
    """One number for each evaluation of a run, in order."""

    best: tuple[int | None, ...]
    """index of the kernel with the highest reward so far; None before the first that was measured"""
    hypervolume: tuple[float, ...]
    """what the Pareto front dominates (log speedup times quality, from the convolution's latency and chance)"""
    front: frozenset[int]
    """indices of the kernels on the front at the end"""


def course_of(run: Run) -> Course:
    """Follow a run from its first evaluation to the last."""
    parameters = run.settings.run.pareto_parameters
    kept: Nondominated[int] = Nondominated(2 + parameters)
    best: list[int | None] = []
    volumes: list[float] = []
    champion, volume, highest = None, 0.0, float("-inf")
    for index, trial in enumerate(run.trials):
        if trial.ok and trial.reward is not None and trial.reward > highest:
            champion, highest = index, trial.reward
        point = trial.measurement and objectives_of(trial.measurement, run.reference or _NO_REFERENCE, parameters)
        if point and kept.add(index, point):
            volume = kept.hypervolume
        best.append(champion)
        volumes.append(volume)
    return Course(tuple(best), tuple(volumes), frozenset(kept.items))
