"""Progress of what takes long: a bar in a terminal or notebook, now and then a line in a file."""

import time
from html import escape
from importlib import import_module
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

_BAR_WIDTH = 12
_LINES = 10
_LINE_S = 60.0
_CELL_S = 0.2


class State(Protocol):
    """How far something is."""

    @property
    def unit(self) -> str:
        """What is counted, in one word."""

    @property
    def done(self) -> int:
        """How many of them there were."""

    @property
    def total(self) -> int:
        """How many there will be."""

    def words(self, room: int | None = None) -> str:
        """In words, the most important first; what does not fit into `room` characters is left out."""


def fitting(parts: list[str], room: int | None) -> str:
    """Parts of a sentence, as many of the first as fit into `room` characters, but one at least."""
    while room is not None and len(parts) > 1 and len(" · ".join(parts)) > room:
        parts = parts[:-1]
    return " · ".join(parts)


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds; a dash where they are not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class View(Protocol):
    """A way to show progress."""

    def start(self) -> None:
        """Begin."""

    def show(self, state: State) -> None:
        """Show a state."""

    def stop(self) -> None:
        """Leave the last state as it is."""


def view(console: Console, first: State) -> View:
    """A bar in a terminal or a notebook's cell; in a file or pipe a line for every tenth, at most a minute apart.

    Args:
        console: where to draw.
        first: the state at the beginning.
    """
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
            self._console.print(f"{state.unit} {state.words()}", soft_wrap=True, highlight=False, markup=False)

    def stop(self) -> None:
        """Whoever shows progress says itself how it ended."""


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
