"""A generated 16x16x3 task of graded difficulty: shapes of any size, place, angle, colour, contrast and noise.

Large shapes of high contrast are told apart by a kernel that looks at few pixels, small ones in noise by none but good
ones: so that weak kernels are ranked too, and not all found at chance.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from canvas_rl.evaluation.data.dataset import Arrays, Dataset, make_dataset
from canvas_rl.evaluation.data.spec import DatasetSpec

Plane = npt.NDArray[np.float32]

IMAGE = 16
RADIUS = (3.5, 7.5)
CONTRAST = (0.4, 1.0)
NOISE = (0.0, 0.2)
SIZES = (2500, 500, 1000)


def _radius(u: Plane, v: Plane) -> Plane:
    return np.hypot(u, v)


def _square(u: Plane, v: Plane) -> Plane:
    return np.maximum(abs(u), abs(v))


def _bars(u: Plane, cycles: int) -> npt.NDArray[np.bool_]:
    dark: npt.NDArray[np.bool_] = np.sin(np.pi * cycles * u) > 0
    return dark


SHAPES: tuple[Callable[[Plane, Plane], npt.NDArray[np.bool_]], ...] = (
    lambda u, v: _radius(u, v) < 0.9,  # disc
    lambda u, v: (_radius(u, v) < 1) & (_radius(u, v) > 0.6),  # ring
    lambda u, v: _square(u, v) < 0.75,  # square
    lambda u, v: (_square(u, v) < 0.85) & (_square(u, v) > 0.5),  # frame
    lambda u, v: (v > -0.5) & (v < 1 - 1.73 * abs(u)),  # triangle
    lambda u, v: (_square(u, v) < 0.9) & (np.minimum(abs(u), abs(v)) < 0.25),  # cross
    lambda u, v: (_radius(u, v) < 1) & (v > -0.2) & (v < 1.0),  # segment of a disc
    lambda u, v: (_square(u, v) < 0.8) & _bars(u, 3),  # bars
    lambda u, v: (_square(u, v) < 0.8) & (_bars(u, 2) ^ _bars(v, 2)),  # checks
    lambda u, v: (_radius(u, v) < 1) & (_radius(u + 0.4, v) > 0.8),  # crescent
)
"""Whether a point is in the shape; its coordinates are in units of the shape's radius."""


def load(data_dir: Path | None, seed: int) -> Dataset:
    """2,500 training, 500 validation and 1,000 test images; the same for the same seed. Reads no file."""
    rng = np.random.default_rng([seed, 20261123])
    parts = [_draw_images(size, rng) for size in SIZES]
    return make_dataset("shapes", parts[0], parts[1], parts[2], classes=len(SHAPES))


def _draw_images(count: int, rng: np.random.Generator) -> Arrays:
    labels = rng.permutation(np.arange(count) % len(SHAPES))
    inside = _draw_masks(labels, rng)
    ground = rng.uniform(0, 1, (count, 3, 1, 1))
    direction = rng.choice([-1.0, 1.0], (count, 3, 1, 1))
    contrast = rng.uniform(*CONTRAST, (count, 1, 1, 1))
    noise = rng.uniform(*NOISE, (count, 1, 1, 1)) * rng.standard_normal((count, 3, IMAGE, IMAGE))
    return (ground + contrast * direction * inside[:, None] + noise).astype(np.float32), labels


def _draw_masks(labels: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Where each image has its shape, [images, 16, 16]; all of a shape's disc lies in the image."""
    count = len(labels)
    radius = rng.uniform(*RADIUS, count)
    middle = rng.uniform(radius, IMAGE - radius, (2, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    rows, columns = ((np.indices((IMAGE, IMAGE)) + 0.5)[axis] - middle[axis, :, None, None] for axis in range(2))
    cosine, sine = (part[:, None, None] / radius[:, None, None] for part in (np.cos(angle), np.sin(angle)))
    u, v = cosine * rows + sine * columns, cosine * columns - sine * rows
    masks = np.zeros((count, IMAGE, IMAGE), dtype=bool)
    for label, shape in enumerate(SHAPES):
        chosen = labels == label
        masks[chosen] = shape(u[chosen], v[chosen])
    return masks


SHAPES_16 = DatasetSpec((3, IMAGE, IMAGE), len(SHAPES), load)
