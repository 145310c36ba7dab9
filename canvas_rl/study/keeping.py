"""Where a session keeps and shows what it finds: a run folder and TensorBoard, or nowhere."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.session import Snapshot
from canvas_rl.study.archive import Entry
from canvas_rl.study.axes import Figures


class Keeper(Protocol):
    """What a session asks of a run's folder; see `RunFolder`."""

    def save_state(self, state: dict[str, Any]) -> None:
        """Write the history of the search."""

    def load_state(self) -> dict[str, Any] | None:
        """The saved history, None if there is none yet."""

    def save_checkpoint(self, asked: int, snapshot: Snapshot, fingerprint: str) -> None:
        """Save the agent's state."""

    def load_checkpoint(self, fingerprint: str) -> tuple[int, Snapshot] | None:
        """The newest checkpoint with the number of kernels counted then."""

    def replace_best(self, fill: Callable[[Path], None]) -> Any:
        """Write `best/` anew and whole."""


class Display(Protocol):
    """What a session shows; see `Board`."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Record one number."""

    def measurement(self, measurement: Measurement, reward: float, step: int) -> None:
        """Record what one kernel earned and why."""

    def front(self, front: Sequence[Entry], hypervolume: float, measured: Sequence[Figures], step: int) -> None:
        """Record the Pareto front."""

    def archive(self, entries: Sequence[Entry], step: int) -> None:
        """Record the best kernels."""

    def counts(self, statuses: Counter[str], store_hits: int, repeats: int, step: int) -> None:
        """Record the totals so far."""

    def best(self, entry: Entry, step: int) -> None:
        """Record a new best kernel."""

    def flush(self) -> None:
        """Write out what is still in memory."""


class Nowhere(Keeper, Display):
    """A keeper and display for searches in memory: nothing is written, nothing shown, nothing found again."""
