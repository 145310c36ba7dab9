"""The Pareto front of a search: kernels that no other beats in everything at once."""

import math
from collections.abc import Iterable
from typing import Generic, TypeVar

import moocore
import numpy as np
from numpy.typing import NDArray

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.study.archive import Entry
from canvas_rl.study.axes import Figures

Item = TypeVar("Item")
Objectives = tuple[float, ...]
"""Numbers that all are to be large; 0 is the reference point of hypervolumes in each."""


def objectives_of(measurement: Measurement, reference: Measurement, parameters: bool = False) -> Objectives | None:
    """What the front compares: log speedup, quality and, if asked for, the log of how many parameters are saved.

    The reference point is 0 in all of them: the replaced convolution's latency, chance quality and its parameters.
    None where a kernel failed or a figure is missing.

    Args:
        measurement: the kernel's.
        reference: the replaced convolution's.
        parameters: whether parameters count.
    """
    figures = Figures.of(measurement)
    if figures is None:
        return None
    objectives = (math.log(figures.speedup), figures.quality)
    if not parameters:
        return objectives
    own, replaced = (sum(site.params for site in item.sites) for item in (measurement, reference))
    return (*objectives, math.log((1 + replaced) / (1 + own)))


def hypervolume(points: Iterable[Objectives]) -> float:
    """The volume between the reference point and the points: what they dominate; 0 without points."""
    found = np.array([point for point in points if min(point) > 0], dtype=float)
    return float(moocore.hypervolume(found, ref=np.zeros(found.shape[1]), maximise=True)) if len(found) else 0.0


class Nondominated(Generic[Item]):
    """Keeps the items that no other beats in all objectives.

    Args:
        objectives: how many numbers an item has.
    """

    def __init__(self, objectives: int) -> None:
        self._points: NDArray[np.float64] = np.zeros((0, objectives))
        self.items: list[Item] = []

    def add(self, item: Item, point: Objectives) -> bool:
        """Take in an item unless another is at least as good in everything; returns whether it was taken in."""
        if np.any(np.all(self._points >= point, axis=1)):
            return False
        beaten = np.all(self._points <= point, axis=1)
        self.items = [known for known, gone in zip(self.items, beaten, strict=True) if not gone] + [item]
        self._points = np.vstack([self._points[~beaten], point])
        return True

    @property
    def points(self) -> list[Objectives]:
        """The objectives of the items, in their order."""
        return [tuple(map(float, point)) for point in self._points]

    @property
    def hypervolume(self) -> float:
        """What the items dominate, from the reference point."""
        return hypervolume(self.points)


class ParetoFront:
    """Keeps the kernels that no other beats in all objectives.

    Args:
        reference: the replaced convolution's measurement.
        parameters: whether parameters are an objective beside latency and quality.
    """

    def __init__(self, reference: Measurement, parameters: bool = False) -> None:
        self._reference = reference
        self._parameters = parameters
        self._kept: Nondominated[Entry] = Nondominated(2 + parameters)

    @property
    def entries(self) -> list[Entry]:
        """The kernels."""
        return self._kept.items

    def add(self, entry: Entry) -> bool:
        """Take in a kernel unless another is at least as good in everything; returns whether it was taken in."""
        point = objectives_of(entry.measurement, self._reference, self._parameters)
        return point is not None and self._kept.add(entry, point)

    @property
    def points(self) -> list[Objectives]:
        """The objectives of the kernels, in their order."""
        return self._kept.points

    @property
    def hypervolume(self) -> float:
        """What the front dominates, from the reference point."""
        return self._kept.hypervolume
