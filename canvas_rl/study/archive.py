"""The best kernels of a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from canvas_rl.errors import FormatError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.ir import KernelGraph


@dataclass(frozen=True)
class Entry:
    """A kernel with its measurement and the reward it earned."""

    graph: KernelGraph
    measurement: Measurement
    reward: float

    def __repr__(self) -> str:
        return f"Entry({self})"

    def __str__(self) -> str:
        return f"{self.graph.hash[:8]}: {describe(self)}, reward {self.reward:.3f}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        return {"kernel": self.graph.to_json(), "measurement": self.measurement.to_json(), "reward": self.reward}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Entry":
        """An entry saved by `to_json`.

        Raises:
            FormatError: the data is damaged.
        """
        try:
            measurement = Measurement.from_json(data["measurement"])
            return cls(KernelGraph.from_json(data["kernel"]), measurement, float(data["reward"]))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"a saved kernel can't be read ({error}): the run's state is damaged") from error


def describe(entry: Entry) -> str:
    """Speedup and quality in a few words."""
    speedup, quality = entry.measurement.speedup, entry.measurement.quality
    first = "speedup unknown" if speedup is None else f"{speedup:.2f}x"
    second = "unknown" if quality is None else f"{quality:.3f}"
    return f"{first} at quality {second}"


def family_shares(entries: Sequence[Entry]) -> dict[str, float]:
    """For each family of primitives, the share of the kernels that have it; families that none has are left out."""
    counts = Counter(family for entry in entries for family in set(entry.graph.families))
    return {family: count / len(entries) for family, count in counts.items()}


class Archive:
    """Keeps the kernels with the highest rewards, best first.

    Args:
        capacity: how many.
    """

    def __init__(self, capacity: int = 32) -> None:
        self.capacity = capacity
        self.entries: list[Entry] = []

    @property
    def best(self) -> Entry | None:
        """The best kernel so far; of equal ones the first."""
        return self.entries[0] if self.entries else None

    def add(self, entry: Entry) -> bool:
        """Take in a kernel that was measured without failure; returns whether it is the new best."""
        if not entry.measurement.ok or any(entry.graph.hash == known.graph.hash for known in self.entries):
            return False
        self.entries.append(entry)
        self.entries.sort(key=lambda known: -known.reward)
        del self.entries[self.capacity :]
        return self.entries[0] is entry
