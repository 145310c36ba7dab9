"""The 8x8 handwritten digits of UCI, shipped with the package (45 kB; see digits.LICENSE.txt).

They are scikit-learn's `load_digits`, in a fixed shuffled order. An own copy keeps the splits the same for ever and
spares a dependency of 40 MB that nothing else needs.
"""

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from canvas_rl.evaluation.data.dataset import Dataset, make_dataset
from canvas_rl.evaluation.data.spec import DatasetSpec

TRAIN, VALIDATION = 797, 500


def load(data_dir: Path | None, seed: int) -> Dataset:
    """The digits: 797 training, 500 validation and 500 test images; both arguments are ignored."""
    with as_file(files(__package__) / "digits.npz") as path, np.load(path, allow_pickle=False) as archive:
        images, labels = archive["images"][:, None], archive["labels"]
    train, validation = slice(TRAIN), slice(TRAIN, TRAIN + VALIDATION)
    test = slice(TRAIN + VALIDATION, None)
    parts = [(images[part], labels[part]) for part in (train, validation, test)]
    return make_dataset("digits", parts[0], parts[1], parts[2], classes=10)


DIGITS = DatasetSpec((1, 8, 8), 10, load)
