"""The registry of data sets, and loading one by name."""

import os
from collections.abc import Mapping
from pathlib import Path

from canvas_rl.errors import DatasetError, UnknownNameError
from canvas_rl.evaluation.data.arrays import from_mapping, read_npz
from canvas_rl.evaluation.data.dataset import Dataset
from canvas_rl.evaluation.data.spec import DatasetShape, DatasetSpec
from canvas_rl.files import full_path, is_folder
from canvas_rl.registry import Registry, did_you_mean, load_object

DATASETS = Registry(
    "data set",
    {
        "shifted_digits": "canvas_rl.evaluation.data.digits:SHIFTED_DIGITS",
        "digits": "canvas_rl.evaluation.data.digits:DIGITS",
        "motifs": "canvas_rl.evaluation.data.motifs:MOTIFS",
        "shapes": "canvas_rl.evaluation.data.shapes:SHAPES_16",
        "cifar10": "canvas_rl.evaluation.data.cifar:CIFAR10",
        "cifar100": "canvas_rl.evaluation.data.cifar:CIFAR100",
    },
)


def is_file(name: str) -> bool:
    """Whether a data set's name is the path of a file."""
    return name.endswith(".npz")


def load_dataset(name: str, data_dir: str | Path | None = None, seed: int = 0) -> Dataset:
    """Load a data set.

    Args:
        name: a registered name; the path of an `.npz` file, relative to `data_dir` if that is given; or
            `module:function`, a function without arguments that returns a `Dataset` or a mapping of arrays.
            The names of arrays are those of `canvas_rl.evaluation.data.arrays`.
        data_dir: the folder of data files, for the data sets that are not shipped.
        seed: the seed of generated data; files don't depend on it.

    Raises:
        UnknownNameError: `name` is none of these.
        DatasetError: a file or an array is missing or malformed.
    """
    folder = None if data_dir is None else full_path(data_dir)
    if folder is not None and not is_folder(folder):
        raise DatasetError(f"data folder {str(folder)!r} is not a folder: check --data-dir")
    if is_file(name):
        return read_npz((folder or Path.cwd()) / os.path.expanduser(name))
    if ":" in name:
        return _call(name)
    spec: DatasetSpec = _spec(name)
    return spec.load(folder, seed)


def describe_dataset(name: str, data_dir: str | Path | None = None, seed: int = 0) -> DatasetShape:
    """Image shape and number of classes, without loading where they are known; else as `load_dataset`."""
    if is_file(name) or ":" in name:
        dataset = load_dataset(name, data_dir, seed)
        return DatasetShape(dataset.image_shape, dataset.classes)
    spec = _spec(name)
    return DatasetShape(spec.image_shape, spec.classes)


def _spec(name: str) -> DatasetSpec:
    if name not in DATASETS:
        raise UnknownNameError(
            f"unknown data set {name!r}: expected one of {', '.join(DATASETS.names())}, the path of an .npz file, "
            f"or module:function.{did_you_mean(name, DATASETS.names())}"
        )
    spec: DatasetSpec = DATASETS.get(name)
    return spec


def _call(path: str) -> Dataset:
    try:
        function = load_object(path)
    except Exception as error:  # a module of the user's may raise anything
        raise UnknownNameError(
            f"data set {path!r} can't be imported ({error}): expected module:function, the module on the Python path"
        ) from None
    try:
        result = function()
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(f"data set {path!r} failed with {type(error).__name__} ({error}): fix it") from error
    if isinstance(result, Dataset):
        return result
    if isinstance(result, Mapping):
        return from_mapping(path, result)
    raise DatasetError(
        f"data set {path!r} returned {type(result).__name__}: expected a Dataset or a mapping with train_images, "
        "train_labels, test_images and test_labels"
    )
