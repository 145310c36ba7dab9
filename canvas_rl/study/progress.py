"""The progress bar of a search."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from canvas_rl.study.archive import Entry, describe


class SearchProgress:
    """A bar with evaluations, evaluations/s, time left, kernels skipped, best speedup and quality.

    Use it as a context manager.

    Args:
        total: evaluations the run will have.
        done: evaluations it has already.
        console: where to draw; None for standard error.
        hidden: draw nothing.
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None, hidden: bool = False) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} · left {task.fields[left]} ·{task.fields[skipped]}"),
            TextColumn("best {task.fields[best]}"),
            console=console or Console(stderr=True),
            disable=hidden,
        )
        self._total, self._first = total, done
        self._task = self._progress.add_task(
            "search", total=total, completed=done, rate="-/s", left="-", skipped="", best="none yet"
        )

    def __enter__(self) -> "SearchProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

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
        left = (self._total - done) / rate if rate > 0 else None
        if time_left_s is not None:
            left = time_left_s if left is None else min(left, time_left_s)
        self._progress.update(
            self._task,
            completed=done,
            rate=f"{rate:.2f}/s",
            left=_clock(left),
            skipped=f" {skipped} skipped ·" if skipped else "",
            best=describe(best) if best else "none yet",
        )


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
