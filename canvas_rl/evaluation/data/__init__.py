"""Data sets for proxy training: shipped, generated, and read from the user's files."""

from canvas_rl.evaluation.data.dataset import Dataset, Split, make_dataset
from canvas_rl.evaluation.data.loading import DATASETS, describe_dataset, is_file, load_dataset
from canvas_rl.evaluation.data.spec import DatasetShape, DatasetSpec

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetShape",
    "DatasetSpec",
    "Split",
    "describe_dataset",
    "is_file",
    "load_dataset",
    "make_dataset",
]
