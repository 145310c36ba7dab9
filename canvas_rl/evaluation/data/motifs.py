"""A generated 32x32x3 task that only spatial structure solves.

A class is a binary 5x5 motif. An image shows its motif several times, in random colours and places, among
distractors: windows with as many bright pixels in a random arrangement. All motifs have the same number of pixels, so
colours, brightness and pixel counts say nothing about the class.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from canvas_rl.evaluation.data.dataset import Arrays, Dataset, make_dataset
from canvas_rl.evaluation.data.spec import DatasetSpec

CLASSES, WINDOW, PIXELS = 12, 5, 10
IMAGE, CELL = 32, 8
COPIES, DISTRACTORS = 2, 6
NOISE = 0.25
SIZES = (2500, 500, 1000)


def load(data_dir: Path | None, seed: int) -> Dataset:
    """2,500 training, 500 validation and 1,000 test images; the same for the same seed. Reads no file."""
    rng = np.random.default_rng([seed, 20230731])
    motifs = draw_motifs(rng)
    parts = [_draw_images(motifs, size, rng) for size in SIZES]
    return make_dataset("motifs", parts[0], parts[1], parts[2], classes=CLASSES)


def draw_motifs(rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Pixel indices of each motif in its window, [classes, pixels]: of many random ones, those least alike."""
    pool = _draw_windows(500, rng)
    masks = np.zeros((len(pool), WINDOW**2))
    np.put_along_axis(masks, pool, 1, axis=1)
    overlap = masks @ masks.T
    chosen = [0]
    while len(chosen) < CLASSES:
        chosen.append(int(overlap[:, chosen].max(axis=1).argmin()))
    return pool[chosen]


def _draw_windows(count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Random arrangements of the pixels in a window, [count, pixels]."""
    return np.argsort(rng.random((count, WINDOW**2), dtype=np.float32), axis=1)[:, :PIXELS]


def _draw_images(motifs: npt.NDArray[np.intp], count: int, rng: np.random.Generator) -> Arrays:
    labels = rng.permutation(np.arange(count) % CLASSES)
    windows = COPIES + DISTRACTORS
    pixels = _draw_windows(count * windows, rng).reshape(count, windows, PIXELS)
    pixels[:, :COPIES] = motifs[labels][:, None]
    # Windows lie in different cells of a grid, so they never overlap, each at a random place of its cell.
    grid = IMAGE // CELL
    cells = np.argsort(rng.random((count, grid**2), dtype=np.float32), axis=1)[:, :windows]
    jitter = rng.integers(0, CELL - WINDOW + 1, (2, count, windows))
    rows = (cells // grid * CELL + jitter[0])[..., None] + pixels // WINDOW
    columns = (cells % grid * CELL + jitter[1])[..., None] + pixels % WINDOW
    colours = rng.uniform(0.4, 1, (count, windows, 1, 3)).astype(np.float32)
    images = NOISE * rng.standard_normal((count, IMAGE, IMAGE, 3), dtype=np.float32)
    images[np.arange(count)[:, None, None], rows, columns] += colours
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels


MOTIFS = DatasetSpec((3, IMAGE, IMAGE), CLASSES, load)
