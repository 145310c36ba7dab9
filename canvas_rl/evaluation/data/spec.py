"""What the registry of data sets holds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from canvas_rl.evaluation.data.dataset import Dataset


class DatasetShape(NamedTuple):
    """What a network has to know of a data set: channels, height and width of an image, and the number of classes."""

    image_shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that can be loaded, and what is known without loading it.

    Args:
        image_shape: channels, height and width of an image.
        classes: number of classes.
        load: called with the data folder (None if none was given) and a seed for generated data.
    """

    image_shape: tuple[int, int, int]
    classes: int
    load: Callable[[Path | None, int], Dataset]
