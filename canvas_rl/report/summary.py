"""Runs and agents in a line each, and what ended kernels' evaluations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from canvas_rl.evaluation.measurement import Status
from canvas_rl.report.course import Course
from canvas_rl.report.reading import Run, Trial

_NO_FAILURES = (str(Status.OK), str(Status.SKIPPED))


@dataclass(frozen=True)
class RunSummary:
    """A run in a line."""

    run: Run
    statuses: Mapping[str, int]
    best: Trial | None
    front_size: int
    hypervolume: float | None
    """None where the convolution's parameters count and are not known"""
    seconds: float | None
    """that the run took; of a run of an older version, from its first to its last measurement, if it has two"""

    @property
    def evaluations(self) -> int:
        """Kernels asked for."""
        return len(self.run.trials)

    @property
    def failures(self) -> int:
        """Kernels that were measured and failed."""
        return sum(count for status, count in self.statuses.items() if status not in _NO_FAILURES)

    @property
    def store_hits(self) -> int:
        """Kernels whose measurement was in the store before."""
        return sum(trial.stored_before for trial in self.run.trials)


@dataclass(frozen=True)
class AgentSummary:
    """The runs of an agent in a line."""

    agent: str
    runs: int
    evaluations: int
    rewards: tuple[float, ...]
    """the best of each run, in ascending order"""
    failures: int

    @property
    def median_reward(self) -> float | None:
        """Median of the runs' best rewards."""
        return median(self.rewards) if self.rewards else None


@dataclass(frozen=True)
class StatusSummary:
    """How often evaluations ended in one way."""

    status: str
    count: int
    share: float
    example: str
    """message of the first such kernel"""


def summarise(run: Run, course: Course) -> RunSummary:
    """A run in a line."""
    counts = Counter(trial.status for trial in run.trials)
    times = [trial.made_here for trial in run.trials if trial.made_here]
    seconds = run.seconds
    if seconds is None and len(times) > 1:
        seconds = (max(times) - min(times)).total_seconds()
    known = run.reference is not None or not run.settings.run.pareto_parameters
    volume = course.hypervolume[-1] if course.hypervolume and known else None
    return RunSummary(run, counts, run.best, len(course.front), volume, seconds)


def by_agent(summaries: Sequence[RunSummary]) -> list[AgentSummary]:
    """The agents, the one with the highest median reward first."""
    groups: dict[str, list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(summary.run.settings.run.agent, []).append(summary)
    found = [_agent(name, group) for name, group in groups.items()]
    return sorted(found, key=lambda agent: -(agent.median_reward or 0.0))


def by_status(runs: Sequence[Run]) -> list[StatusSummary]:
    """All statuses of the kernels, `ok` first, then the most frequent."""
    trials = [trial for run in runs for trial in run.trials]
    examples: dict[str, str] = {}
    for trial in trials:
        message = trial.measurement.message if trial.measurement else "no measurement is in the store"
        examples[trial.status] = examples.get(trial.status) or message
    counts = Counter(trial.status for trial in trials).most_common()
    ordered = sorted(counts, key=lambda item: item[0] != str(Status.OK))
    return [StatusSummary(status, count, count / len(trials), examples[status]) for status, count in ordered]


def _agent(name: str, group: Sequence[RunSummary]) -> AgentSummary:
    rewards = sorted(item.best.reward for item in group if item.best and item.best.reward is not None)
    evaluations, failures = sum(item.evaluations for item in group), sum(item.failures for item in group)
    return AgentSummary(name, len(group), evaluations, tuple(rewards), failures)
