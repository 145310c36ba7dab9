"""Data sets from arrays under documented names: `.npz` archives and the results of user functions.

Names: `train_images`, `train_labels`, `val_images`, `val_labels`, `test_images`, `test_labels` (as MedMNIST has
them), or `x_train`, `y_train`, `x_val`, `y_val`, `x_test`, `y_test` (as Keras has them). Without a validation split
every sixth training image becomes one. Images are [N, H, W], [N, C, H, W] or [N, H, W, C]; of the two, the first
whose C is at most 4 counts. Labels are whole numbers from 0, [N] or [N, 1].
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from canvas_rl.errors import DatasetError
from canvas_rl.evaluation.data.dataset import Arrays, Dataset, make_dataset

NAMINGS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
HOLD_OUT = 6


def read_npz(path: Path) -> Dataset:
    """The data set in an `.npz` archive; objects in it (pickles) are refused.

    Raises:
        DatasetError: the file is missing, no archive, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DatasetError(f"data file {str(path)!r} does not exist: give the path of an .npz archive") from None
    except Exception as error:  # damaged archives fail in many ways: zip, zlib, end of file, header
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"data file {str(path)!r} can't be read as an .npz archive ({reason}): save plain arrays with np.savez"
        ) from None
    return from_mapping(str(path), content)


def from_mapping(name: str, content: Mapping[str, Any]) -> Dataset:
    """The data set whose arrays `content` holds under the names of this module.

    Raises:
        DatasetError: an array is missing or does not fit the others.
    """
    images_key, labels_key = next((n for n in NAMINGS if n[0].format("train") in content), NAMINGS[0])
    parts: dict[str, Arrays] = {}
    for part in ("train", "val", "test"):
        keys = images_key.format(part), labels_key.format(part)
        missing = [key for key in keys if key not in content]
        if part == "val" and len(missing) == 2:
            continue
        if missing:
            found = ", ".join(sorted(content)) or "nothing"
            raise DatasetError(f"data set {name!r} has no array {missing[0]!r} (it has {found}): add it")
        parts[part] = _channels_first(np.asarray(content[keys[0]])), _flat(np.asarray(content[keys[1]]))
    if "val" not in parts:
        parts["train"], parts["val"] = _hold_out(name, *parts["train"])
    return make_dataset(name, parts["train"], parts["val"], parts["test"])


def _channels_first(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] > 4 >= images.shape[3]:
        return images.transpose(0, 3, 1, 2)
    return images


def _flat(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _hold_out(name: str, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Arrays, Arrays]:
    if len(images) != len(labels) or len(images) < HOLD_OUT:
        raise DatasetError(
            f"data set {name!r} has {len(images)} training images and {len(labels)} labels: expected as many of both, "
            f"at least {HOLD_OUT}"
        )
    held = np.arange(len(images)) % HOLD_OUT == HOLD_OUT - 1
    return (images[~held], labels[~held]), (images[held], labels[held])
