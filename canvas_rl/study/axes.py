"""The axes of a picture of kernels: speedup, on a logarithmic scale, and quality."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from canvas_rl.evaluation.measurement import Measurement

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SIZE = (600, 420)
MARGINS = (64, 64, 20, 66)
"""Left, top, right and bottom."""

FINER = 2
"""Lines are drawn so much larger and made smaller, so that they have no steps."""

_GRID = "#e3e8ed"
_STEPS = (1, 2, 5)


class Figures(NamedTuple):
    """A kernel's figures."""

    speedup: float
    quality: float

    @classmethod
    def of(cls, measurement: Measurement) -> "Figures | None":
        """Those of a measurement; None where it failed or one is missing."""
        if not measurement.ok or not measurement.speedup or measurement.quality is None:
            return None
        return cls(measurement.speedup, measurement.quality)


class Axes:
    """Where figures are in the picture, before it is made smaller: speedups on a logarithmic scale.

    Args:
        shown: what must be inside.
    """

    def __init__(self, shown: Sequence[Figures]) -> None:
        logs = [math.log(kernel.speedup) for kernel in shown]
        qualities = [kernel.quality for kernel in shown]
        self._x = _widened(min(logs), max(logs), 0.2)
        self._y = _widened(min(qualities), max(qualities), 0.02)
        self.lowest = Figures(math.exp(self._x[0]), self._y[0])

    def place(self, kernel: Figures) -> tuple[float, float]:
        """The pixel of a kernel."""
        left, top, right, bottom = MARGINS
        across = (math.log(kernel.speedup) - self._x[0]) / (self._x[1] - self._x[0])
        up = (kernel.quality - self._y[0]) / (self._y[1] - self._y[0])
        x = left + across * (SIZE[0] - left - right)
        return x * FINER, (SIZE[1] - bottom - up * (SIZE[1] - top - bottom)) * FINER

    def speedups(self) -> list[float]:
        """Round speedups inside the picture."""
        low, high = (math.exp(bound) for bound in self._x)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in _STEPS]
        return [tick for tick in ticks if low <= tick <= high]

    def qualities(self) -> list[float]:
        """Round qualities inside the picture, at most seven."""
        low, high = self._y
        step = next(s * 10.0**p for p in range(-4, 3) for s in _STEPS if (high - low) / (s * 10.0**p) <= 7)
        return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]

    def grid(self, canvas: "ImageDraw", value: float, horizontal: bool) -> None:
        """A faint line at a tick."""
        left, top, right, bottom = MARGINS
        x, y = self.place(Figures(1.0, value) if horizontal else Figures(value, self._y[0]))
        ends: tuple[float, ...] = (left * FINER, y, (SIZE[0] - right) * FINER, y)
        if not horizontal:
            ends = (x, top * FINER, x, (SIZE[1] - bottom) * FINER)
        canvas.line(ends, fill=_GRID, width=FINER)


def _widened(low: float, high: float, least: float) -> tuple[float, float]:
    edge = max(0.06 * (high - low), least / 2)
    return low - edge, high + edge
