"""The progress of a search: a bar in a terminal or notebook, now and then a line in a file."""

import time
from dataclasses import dataclass
from html import escape
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from canvas_rl.study.archive import Entry, describe

_BAR_WIDTH = 12
_LINES = 10
_LINE_S = 60.0
_CELL_S = 0.2


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

    done: int
    total: int
    rate: float = 0.0
    left_s: float | None = None
    best: str = "none yet"
    reward: float | None = None
    skipped: int = 0

    def words(self, room: int | None = None) -> str:
        """In words, the most important first; what does not fit into `room` characters is left out."""
        parts = [f"{self.done}/{self.total}", f"left {_clock(self.left_s)}", f"best {self.best}"]
        parts += [] if self.reward is None else [f"reward {self.reward:.3f}"]
        parts += [f"{self.rate:.2f}/s"] if self.rate else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        while room is not None and len(parts) > 1 and len(" · ".join(parts)) > room:
            parts.pop()
        return " · ".join(parts)


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
        self._view = None if hidden else _view(console or Console(stderr=True), State(done, total))

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


class _View(Protocol):
    """A way to show progress."""

    def start(self) -> None:
        """Begin."""

    def show(self, state: State) -> None:
        """Show a state."""

    def stop(self) -> None:
        """Leave the last state as it is."""


def _view(console: Console, first: State) -> _View:
    if console.is_jupyter:
        return _Cell(first)
    return _Bar(console, first) if console.is_terminal else _Lines(console, first)


class _Bar:
    """A line of a terminal that is redrawn; lines printed to the same console go above it."""

    def __init__(self, console: Console, first: State) -> None:
        self._progress = Progress(BarColumn(bar_width=_BAR_WIDTH), _Words(console), console=console)
        self._task = self._progress.add_task("", total=first.total, completed=first.done, state=first)

    def start(self) -> None:
        self._progress.start()

    def show(self, state: State) -> None:
        self._progress.update(self._task, completed=state.done, state=state)

    def stop(self) -> None:
        self._progress.stop()


class _Words(ProgressColumn):
    """What fits beside the bar, also after the terminal was made narrower."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        return Text(task.fields["state"].words(self._console.width - _BAR_WIDTH - 1), no_wrap=True)


class _Lines:
    """Plain lines for a file."""

    def __init__(self, console: Console, first: State) -> None:
        self._console = console
        self._told, self._time = first.done * _LINES // first.total, time.monotonic()

    def start(self) -> None:
        """Nothing to say yet."""

    def show(self, state: State) -> None:
        tenth, now = state.done * _LINES // state.total, time.monotonic()
        if tenth > self._told or now - self._time >= _LINE_S:
            self._told, self._time = tenth, now
            self._console.print(f"evaluation {state.words()}", soft_wrap=True, highlight=False, markup=False)

    def stop(self) -> None:
        """The search says itself how it ended."""


class _Cell:
    """A bar below a notebook's cell."""

    def __init__(self, first: State) -> None:
        self._state, self._time = first, 0.0
        self._handle: Any = None

    def start(self) -> None:
        show = import_module("IPython.display").display  # every notebook's kernel has it
        self._handle = show(self._bundle(), raw=True, display_id=True)

    def show(self, state: State) -> None:
        self._state = state
        if time.monotonic() - self._time >= _CELL_S:
            self._draw()

    def stop(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self._time = time.monotonic()
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        words, state = self._state.words(), self._state
        bar = f'<progress value="{state.done}" max="{state.total}" style="width:14em;vertical-align:middle"></progress>'
        return {"text/plain": words, "text/html": f"<div>{bar} {escape(words)}</div>"}


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
