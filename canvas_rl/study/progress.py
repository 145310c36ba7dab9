"""The progress of a search."""

from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

from rich.console import Console

from canvas_rl.progress import clock, fitting, view
from canvas_rl.study.archive import Entry, describe


@dataclass(frozen=True)
class State:
    """How far a search is.

    Attributes:
        done: evaluations of the run.
        total: evaluations it will have.
        rate: evaluations a second.
        left_s: seconds until it ends; None if that is not known yet.
        best: its best kernel in a few words.
        reward: what the best kernel earned; None while there is none.
        skipped: kernels, of those done, that were predicted to be too slow and not measured.
    """

    unit: ClassVar[str] = "evaluation"
    done: int
    total: int
    rate: float = 0.0
    left_s: float | None = None
    best: str = "none yet"
    reward: float | None = None
    skipped: int = 0

    def words(self, room: int | None = None) -> str:
        """In words, the most important first; what does not fit into `room` characters is left out."""
        parts = [f"{self.done}/{self.total}", f"left {clock(self.left_s)}", f"best {self.best}"]
        parts += [] if self.reward is None else [f"reward {self.reward:.3f}"]
        parts += [f"{self.rate:.2f}/s"] if self.rate else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        return fitting(parts, room)


class SearchProgress:
    """Shows evaluations, time left, best speedup, quality and reward, evaluations/s and kernels skipped.

    Use it as a context manager. A terminal gets a bar. A file or pipe gets a line for every tenth of the evaluations,
    at most a minute apart as long as kernels come. A notebook gets a bar in the cell, which needs no widgets.

    Args:
        total: evaluations the run will have.
        done: evaluations it has already.
        console: where to draw; None for standard error.
        hidden: draw nothing.
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None, hidden: bool = False) -> None:
        self._total, self._first = total, done
        self._view = None if hidden else view(console or Console(stderr=True), State(done, total))

    def __enter__(self) -> "SearchProgress":
        if self._view is not None:
            self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            self._view.stop()

    def update(
        self, done: int, elapsed_s: float, time_left_s: float | None, best: Entry | None, skipped: int = 0
    ) -> None:
        """Show the state of the search.

        Args:
            done: evaluations of the run.
            elapsed_s: seconds since this process began to search.
            time_left_s: seconds until the time limit; None without one.
            best: the best kernel so far.
            skipped: kernels, of those done, that were predicted to be too slow and not measured.
        """
        rate = (done - self._first) / max(elapsed_s, 1e-6)
        left = max(self._total - done, 0) / rate if rate > 0 else None
        if time_left_s is not None:
            left = time_left_s if left is None else min(left, time_left_s)
        if self._view is not None:
            found, reward = (describe(best), best.reward) if best else ("none yet", None)
            self._view.show(State(done, self._total, rate, left, found, reward, skipped))
