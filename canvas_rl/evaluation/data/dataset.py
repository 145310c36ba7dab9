"""Data sets as the proxy sees them: three fixed splits of normalised images with integer labels."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from canvas_rl.errors import DatasetError

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        images: float32, [N, C, H, W].
        labels: int64, [N], from 0.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A classification data set; two are equal if their names and contents are.

    The search sees `validation` only; `test` is for final tables. Images are normalised by the mean and standard
    deviation of each channel over the training images.
    """

    name: str
    train: Split = field(repr=False, compare=False)
    validation: Split = field(repr=False, compare=False)
    test: Split = field(repr=False, compare=False)
    classes: int
    fingerprint: str
    """SHA-256 of all images and labels, hexadecimal"""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def chance(self) -> float:
        """The accuracy of always answering the most common training class."""
        counts = np.bincount(self.train.labels, minlength=self.classes)
        return float(counts.max() / counts.sum())


def make_dataset(name: str, train: Arrays, validation: Arrays, test: Arrays, classes: int | None = None) -> Dataset:
    """A checked and normalised data set from raw (images, labels) pairs.

    Args:
        name: the name for messages and tables.
        train: images [N, C, H, W] of any number type, and whole-numbered labels [N] from 0.
        validation: the same, for the split that the search sees.
        test: the same, for the split that only final tables see.
        classes: number of classes; None takes it from the largest label.

    Raises:
        DatasetError: shapes, types or labels that don't fit together.
    """
    parts = {"train": train, "validation": validation, "test": test}
    for part, (images, labels) in parts.items():
        _check(f"the {part} split of data set {name!r}", images, labels, np.shape(train[0])[1:])
    found = 1 + max(int(labels.max()) for _, labels in parts.values())
    classes = found if classes is None else classes
    if not 2 <= found <= classes:
        raise DatasetError(f"data set {name!r} has labels up to {found - 1}: expected 1 to {max(classes, 2) - 1}")
    mean = train[0].mean(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0].astype(np.float32)
    std = train[0].std(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0].astype(np.float32)
    splits = {
        part: Split((images.astype(np.float32) - mean) / np.maximum(std, 1e-6), labels.astype(np.int64))
        for part, (images, labels) in parts.items()
    }
    return Dataset(name, classes=classes, fingerprint=_fingerprint(splits, classes), **splits)


def _check(what: str, images: npt.NDArray[Any], labels: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    for content, array in (("images", images), ("labels", labels)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise DatasetError(f"{what} has {content} of type {kind}: expected a NumPy array of numbers")
    if images.ndim != 4 or 0 in images.shape or images.shape[1:] != shape:
        raise DatasetError(
            f"{what} has images of shape {images.shape}: expected [images, channels, height, width], none of them 0 "
            "and the same sizes in every split"
        )
    if labels.shape != images.shape[:1]:
        raise DatasetError(f"{what} has labels of shape {labels.shape}: expected one for each of {len(images)} images")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise DatasetError(f"{what} has infinite or not-a-number pixels: expected finite values, clean them first")
    if labels.dtype.kind not in "ui" or labels.min() < 0:
        raise DatasetError(
            f"{what} has labels of type {labels.dtype} from {labels.min()}: expected whole numbers from 0"
        )


def _fingerprint(splits: dict[str, Split], classes: int) -> str:
    digest = hashlib.sha256(str(classes).encode())
    for part, split in splits.items():
        digest.update(f"{part} {split.images.shape}".encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
