"""The 8x8 handwritten digits of UCI, shipped with the package (45 kB; see digits.LICENSE.txt): as they are, or shifted.

As they are, all digits stand in the middle: a kernel with a weight for every pixel reads them without looking at
neighbours, which helps with no image whose objects are anywhere. Shifted, each stands somewhere on a larger ground.

They are scikit-learn's `load_digits`, in a fixed shuffled order. An own copy keeps the splits the same for ever and
spares a dependency of 40 MB that nothing else needs.
"""

import itertools
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from canvas_rl.evaluation.data.dataset import Dataset, make_dataset
from canvas_rl.evaluation.data.spec import DatasetSpec

TRAIN, VALIDATION = 797, 500
GROUND = 12
COPIES = 2

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def load(data_dir: Path | None, seed: int) -> Dataset:
    """The digits: 797 training, 500 validation and 500 test images; both arguments are ignored."""
    parts = _read()
    return make_dataset("digits", parts[0], parts[1], parts[2], classes=10)


def load_shifted(data_dir: Path | None, seed: int) -> Dataset:
    """The digits at random places of a 12x12 ground: each training image at two, each other one at one place.

    The places are the same for the same seed; the folder is ignored.
    """
    rng = np.random.default_rng([seed, 20261124])
    parts = [_place(*part, copies, rng) for part, copies in zip(_read(), (COPIES, 1, 1), strict=True)]
    return make_dataset("shifted_digits", parts[0], parts[1], parts[2], classes=10)


def _read() -> list[tuple[Images, Labels]]:
    with as_file(files(__package__) / "digits.npz") as path, np.load(path, allow_pickle=False) as archive:
        images, labels = archive["images"][:, None], archive["labels"]
    bounds = (0, TRAIN, TRAIN + VALIDATION, len(images))
    return [(images[first:end], labels[first:end]) for first, end in itertools.pairwise(bounds)]


def _place(images: Images, labels: Labels, copies: int, rng: np.random.Generator) -> tuple[Images, Labels]:
    images, labels = np.repeat(images, copies, axis=0), np.repeat(labels, copies)
    height, width = images.shape[2:]
    placed = np.zeros((len(images), 1, GROUND, GROUND), dtype=np.float32)
    corners = rng.integers(0, (GROUND - height + 1, GROUND - width + 1), (len(images), 2))
    for image, target, (row, column) in zip(images, placed, corners, strict=True):
        target[:, row : row + height, column : column + width] = image
    return placed, labels


DIGITS = DatasetSpec((1, 8, 8), 10, load)
SHIFTED_DIGITS = DatasetSpec((1, GROUND, GROUND), 10, load_shifted)
