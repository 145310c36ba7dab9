"""CIFAR-10 and CIFAR-100 from their official binary files; the Python versions are pickles and are never read."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from canvas_rl.errors import DatasetError
from canvas_rl.evaluation.data.dataset import Arrays, Dataset, make_dataset
from canvas_rl.evaluation.data.spec import DatasetSpec

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
VALIDATION = 5000
SITE = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class _Files:
    """The layout of one of the two data sets: a record is some label bytes, the last of them ours, then the image."""

    name: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    label_bytes: int
    classes: int


def _load(layout: _Files, data_dir: Path | None, seed: int) -> Dataset:
    """All images; the last 5,000 training images are the validation split. The seed is ignored."""
    if data_dir is None:
        raise DatasetError(
            f"data set {layout.name!r} needs a data folder: download {SITE}{layout.archive}, unpack it "
            f"and pass the folder that holds {layout.folder} as --data-dir"
        )
    folder = data_dir / layout.folder if (data_dir / layout.folder).is_dir() else data_dir
    read = [_read(folder / name, layout) for name in layout.train]
    images, labels = (np.concatenate([part[i] for part in read]) for i in (0, 1))
    if len(images) <= VALIDATION:
        raise DatasetError(f"{folder} holds {len(images)} training images: expected more than {VALIDATION}")
    train, validation = ((images[part], labels[part]) for part in (slice(-VALIDATION), slice(-VALIDATION, None)))
    return make_dataset(layout.name, train, validation, _read(folder / layout.test, layout), layout.classes)


def _read(path: Path, layout: _Files) -> Arrays:
    record = layout.label_bytes + PIXELS
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(
            f"data set {layout.name!r} needs {path}, which can't be read ({error.strerror}): download the binary "
            f"version, {SITE}{layout.archive}, and unpack it into --data-dir"
        ) from None
    if not len(content) or len(content) % record:
        raise DatasetError(
            f"{path} has {len(content)} bytes: expected a multiple of {record} (the binary version of {layout.name}), "
            f"download {SITE}{layout.archive} again"
        )
    records = content.reshape(-1, record)
    return records[:, layout.label_bytes :].reshape(-1, *SHAPE), records[:, layout.label_bytes - 1]


_BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_CIFAR10 = _Files("cifar10", "cifar-10-binary.tar.gz", "cifar-10-batches-bin", _BATCHES, "test_batch.bin", 1, 10)
_CIFAR100 = _Files("cifar100", "cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), "test.bin", 2, 100)
CIFAR10 = DatasetSpec(SHAPE, _CIFAR10.classes, partial(_load, _CIFAR10))
CIFAR100 = DatasetSpec(SHAPE, _CIFAR100.classes, partial(_load, _CIFAR100))
