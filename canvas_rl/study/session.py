"""The session: what runs between an agent and the evaluator, and keeps count."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from canvas_rl.errors import FormatError
from canvas_rl.evaluation.measurement import Evaluator, Measurement, SiteFigures, Status
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.rewards import Reward
from canvas_rl.session import Judged, Outcome, SearchOver, Snapshot
from canvas_rl.space import SearchSpace
from canvas_rl.study.archive import Archive, Entry, describe
from canvas_rl.study.axes import Figures
from canvas_rl.study.final import write_kernel
from canvas_rl.study.front import ParetoFront
from canvas_rl.study.keeping import Display, Keeper
from canvas_rl.study.result import Row
from canvas_rl.study.stopping import Stopper

logger = logging.getLogger(__name__)

_REPEATS_IN_A_ROW = 2000


class WatchedEvaluator(Evaluator, Protocol):
    """An evaluator that tells of every measurement as soon as it is there."""

    def evaluate(
        self, graphs: Sequence[Any], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Measurements in the order of `graphs`."""


@dataclass(frozen=True)
class Parts:
    """What a session works with."""

    space: SearchSpace
    evaluator: WatchedEvaluator
    reward: Reward
    folder: Keeper
    board: Display
    stopper: Stopper
    pareto_parameters: bool = False


class SearchSession:
    """Judges kernels for an agent, counts them, and saves and shows what comes of it.

    The count is of distinct kernels asked for in the run; failures, skipped kernels and store hits are in it, repeats
    are not. Kernels counted after the last checkpoint are asked for again by the agent of a resumed run: once, and
    without being counted or punished as repeats; their measurements come from the store, and what was skipped stays so.

    Args:
        parts: what it works with.
        evaluations: when the search ends.
        seed: for the agent.
        warm_start: kernels to judge before the agent's.
    """

    def __init__(self, parts: Parts, evaluations: int, seed: int, warm_start: Sequence[KernelGraph] = ()) -> None:
        self.space = parts.space
        self.seed = seed
        self.warm_start: tuple[Judged, ...] = ()
        self._known = tuple({graph.hash: graph for graph in warm_start}.values())
        self.restored: Snapshot | None = None
        self.archive = Archive()
        self.front = ParetoFront(parts.evaluator.reference, parts.pareto_parameters)
        self.measured: list[Figures] = []
        self.ended = 0
        self.networks: dict[str, dict[str, float]] = {}
        self.statuses: Counter[str] = Counter()
        self.repeats = 0
        self.on_change: Callable[[], None] = _nothing
        self._parts = parts
        self._evaluations = evaluations
        self._asked: dict[str, int] = {}
        self._pending: set[str] = set()
        self._repeats_in_a_row = 0
        self._from_store: dict[str, None] = {}
        self._skipped: dict[str, str] = {}
        self._seconds_before = 0.0

    @property
    def count(self) -> int:
        """Evaluations of the run so far."""
        return len(self._asked)

    @property
    def used_up(self) -> str:
        """Why the search ends when its evaluations are used up."""
        return used_up(self.count, self._evaluations)

    @property
    def unclaimed(self) -> bool:
        """Whether kernels counted before the run was resumed are still to be asked for again."""
        return bool(self._pending)

    @property
    def store_hits(self) -> int:
        """Kernels of the run whose measurement was in the store already when it first asked for them."""
        return len(self._from_store)

    @property
    def skipped(self) -> int:
        """Kernels of the run that were predicted to be too slow and not measured."""
        return self.statuses[Status.SKIPPED]

    def warm_up(self) -> None:
        """Judge the kernels of the warm start; a run that has a checkpoint has done so.

        Raises:
            SearchOver: as `judge`.
        """
        if self._known and self.restored is None:
            self.warm_start = tuple(map(Judged, self._known, self.judge(self._known)))

    def judge(self, graphs: Sequence[KernelGraph]) -> list[Outcome]:
        """Evaluate kernels that the run has not seen; repeats earn the lowest reward.

        Raises:
            SearchOver: the evaluations are used up, the time is up, or somebody asked to stop.
        """
        self._parts.stopper.check()
        new = {graph.hash: graph for graph in graphs if self._is_new(graph.hash)}
        self._watch_repeats(len(graphs) - len(new), bool(new))
        affordable = self._within_budget(list(new.values()))
        try:
            earned = self._evaluate(affordable)
        finally:
            self.save()
        if len(affordable) < len(new) or (not new and self.count >= self._evaluations):
            raise SearchOver(self.used_up)
        lowest = float(self._parts.reward.range[0])
        return [earned.pop(graph.hash, Outcome(lowest, repeated=True)) for graph in graphs]

    def log(self, name: str, value: float) -> None:
        """Record a scalar at the present number of evaluations."""
        self._parts.board.scalar(name, value, self.count)

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Save the agent's state and the history it belongs to.

        Kernels that a resumed run has not asked for again yet came after the state: they stay out of its count, so
        that a second interruption leaves them to be asked for again too.
        """
        self.save()
        counted = min((self._asked[name] for name in self._pending), default=self.count)
        self._parts.folder.save_checkpoint(counted, snapshot, self.space.fingerprint)
        self._parts.board.flush()

    def save(self) -> None:
        """Save the history."""
        self._parts.folder.save_state(
            {
                "asked": list(self._asked),
                "statuses": dict(self.statuses),
                "skipped": self._skipped,
                "warm_start": [graph.hash for graph in self._known if graph.hash in self._asked],
                "from_store": list(self._from_store),
                "repeats": self.repeats,
                "seconds": round(self._seconds_before + self._parts.stopper.elapsed_s, 1),
                "reference": self._parts.evaluator.reference.to_json(),
                "archive": [entry.to_json() for entry in self.archive.entries],
                "front": [entry.to_json() for entry in self.front.entries],
                "measured": self.measured,
                "ended": self.ended,
                "networks": self.networks,
            }
        )

    def end(self, rows: Sequence[Row]) -> None:
        """Save that the run has ended with so many evaluations, and with these kernels."""
        self.ended = self.count
        self.networks = {row.entry.graph.hash: row.network.to_json() for row in rows if row.network}
        self.save()

    def restore(self) -> None:
        """Go on from what the folder holds.

        Raises:
            FormatError: it is damaged.
            RunError: its checkpoint belongs to another search space.
        """
        state = self._parts.folder.load_state()
        checkpoint = self._parts.folder.load_checkpoint(self.space.fingerprint)
        if state is None:
            return
        try:
            self._asked = {str(name): order for order, name in enumerate(state["asked"])}
            self.statuses = Counter(state["statuses"])
            self._skipped = dict(state.get("skipped", {}))  # runs of older versions skipped nothing
            self._from_store = dict.fromkeys(map(str, state.get("from_store", ())))  # older runs did not tell them
            self.repeats = int(state["repeats"])
            self._seconds_before = float(state.get("seconds", 0))
            entries = [Entry.from_json(data) for data in state["archive"]]
            front = [Entry.from_json(data) for data in state["front"]]
            self.ended, self.networks = int(state.get("ended", 0)), dict(state.get("networks", {}))
            self.measured = [Figures(*map(float, pair)) for pair in state.get("measured", ())]  # older runs kept none
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"state.json of the run is damaged ({error!r}): start a new run") from error
        for entry in entries:
            self.archive.add(entry)
        for entry in front:
            self.front.add(entry)
        known = 0
        if checkpoint is not None:
            known, self.restored = checkpoint
        self._pending = set(list(self._asked)[known:])

    def _is_new(self, kernel: str) -> bool:
        return kernel not in self._asked or kernel in self._pending

    def _within_budget(self, graphs: list[KernelGraph]) -> list[KernelGraph]:
        """Those that fit into the evaluations that are left; kernels counted before the run was resumed always do."""
        left = self._evaluations - self.count
        chosen = []
        for graph in graphs:
            fits = graph.hash in self._asked or left > 0
            left -= graph.hash not in self._asked
            if not fits:
                break
            chosen.append(graph)
        return chosen

    def _evaluate(self, graphs: list[KernelGraph]) -> dict[str, Outcome]:
        """Outcomes by hash; each kernel is counted and shown as soon as it is measured."""
        by_hash = {graph.hash: graph for graph in graphs}
        earned: dict[str, Outcome] = {}
        skipped = [graph for graph in graphs if graph.hash in self._skipped]  # before the run was resumed

        def take(measurement: Measurement) -> None:
            with self._parts.stopper.uninterrupted():
                earned[measurement.kernel] = self._record(by_hash[measurement.kernel], measurement)

        for graph in skipped:
            take(self._as_skipped(graph))
        with self._parts.stopper.interruptible():
            measurements = self._parts.evaluator.evaluate([graph for graph in graphs if graph not in skipped], take)
        for measurement in measurements:
            if measurement.kernel not in earned:  # known to the evaluator from before this run
                take(measurement)
        return earned

    def _as_skipped(self, graph: KernelGraph) -> Measurement:
        """The measurement of a kernel that was skipped before the run was resumed."""
        sites = [figures.site for figures in self._parts.evaluator.reference.sites]
        costs = tuple(SiteFigures(site, **asdict(static_cost(graph, site))) for site in sites)
        return Measurement(graph.hash, Status.SKIPPED, self._skipped[graph.hash], costs)

    def _record(self, graph: KernelGraph, measurement: Measurement) -> Outcome:
        reward = self._parts.reward(measurement, self._parts.evaluator.reference)
        new = graph.hash not in self._asked
        self._pending.discard(graph.hash)
        if new:
            self._asked[graph.hash] = self.count
            self.statuses[str(measurement.status)] += 1
            statistics = getattr(self._parts.evaluator, "statistics", None)  # evaluators without a store have none
            if statistics is not None and graph.hash in statistics.from_store:
                self._from_store[graph.hash] = None
            if measurement.status is Status.SKIPPED:
                self._skipped[graph.hash] = measurement.message
            self.measured += [figures] if (figures := Figures.of(measurement)) else []
            self._parts.board.measurement(measurement, reward, self.count)
        entry = Entry(graph, measurement, reward)
        if self.archive.add(entry):
            self._parts.board.best(entry, self.count)
            self._parts.folder.replace_best(lambda folder: write_kernel(folder, graph))
            logger.info("evaluation %d: best so far, %s, reward %.3f", self.count, describe(entry), reward)
        if self.front.add(entry):
            self._parts.board.front(self.front.entries, self.front.hypervolume, self.measured, self.count)
        if new:
            self._parts.board.archive(self.archive.entries, self.count)
            self._parts.board.counts(self.statuses, self.store_hits, self.repeats, self.count)
        self.on_change()
        return Outcome(reward, measurement)

    def _watch_repeats(self, repeats: int, any_new: bool) -> None:
        """Notice a space, or a policy, that has nothing new to offer."""
        self.repeats += repeats
        self._repeats_in_a_row = 0 if any_new else self._repeats_in_a_row + repeats
        if self._repeats_in_a_row >= _REPEATS_IN_A_ROW:
            raise SearchOver(f"the last {self._repeats_in_a_row} kernels were all seen before: nothing new is found")


def _nothing() -> None:
    """Nobody listens."""


def used_up(count: int, evaluations: int) -> str:
    """Why a run with so many evaluations ends where so many were asked for."""
    if count > evaluations:
        return f"the run has {count} evaluations already, more than the {evaluations} asked for"
    return f"all {evaluations} evaluations are done"


def summary(session: SearchSession) -> dict[str, Any]:
    """The totals of a search, JSON-ready."""
    return {
        "evaluations": session.count,
        "statuses": dict(session.statuses),
        "store_hits": session.store_hits,
        "repeats": session.repeats,
    }
