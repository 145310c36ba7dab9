"""The options of proxy training: one frozen dataclass, with defaults for each data set."""

from dataclasses import asdict, dataclass
from typing import Any

from canvas_rl.config import known_options
from canvas_rl.errors import ConfigError

Milestone = tuple[int, float]


@dataclass(frozen=True)
class ProxyConfig:
    """How the quality of a kernel is measured: data, backbone and schedule; by default on the shifted digits.

    `for_dataset` gives the defaults of other data sets. Changing anything but `data_dir` changes what quality means, so
    stored measurements are kept apart by it.
    """

    dataset: str = "shifted_digits"
    """a built-in data set, an .npz file, or module:function"""
    data_dir: str | None = None
    """folder of the data files (CIFAR, .npz)"""
    data_seed: int = 0
    """seed of generated data"""
    train_samples: int | None = None
    """train with the first so many images only (None: all)"""
    spatial_dims: int = 2
    """spatial dimensions of the kernels: 2; 1 reads images as rows stacked into channels; 0 as flat vectors"""
    backbone: str = "residual"
    """the network around the kernels"""
    channels: tuple[int, ...] = (32,)
    """channels of each stage; the image is halved between stages"""
    blocks: tuple[int, ...] = (3,)
    """kernels of each stage"""
    epochs: int = 6
    """passes over the training images"""
    batch_size: int = 32
    """images of a training step"""
    learning_rate: float = 0.02
    """peak of the one-cycle schedule (AdamW)"""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay"""
    seed: int = 0
    """seed of the initial weights and of the order of images"""
    milestones: tuple[Milestone, ...] = ((2, 0.05), (3, 0.13), (4, 0.29), (5, 0.38))
    """(epoch, quality): training stops after this epoch if it answers its own training images worse than that"""
    mixed_precision: bool = False
    """train in bfloat16 where PyTorch's autocast holds it safe (CUDA only)"""

    def __post_init__(self) -> None:
        for name in ("channels", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(tuple(milestone) for milestone in self.milestones))
        _check_network(self)
        _check_schedule(self)

    @classmethod
    def for_dataset(cls, dataset: str, **changes: Any) -> "ProxyConfig":
        """The default configuration for a data set, with some options changed.

        Args:
            dataset: as `load_dataset` takes it; files and functions get the defaults of large images.
            **changes: options to set otherwise.

        Raises:
            ConfigError: an unknown or unusable option.
        """
        return cls.from_json({**_DEFAULTS.get(dataset, _LARGE), **changes, "dataset": dataset})

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        data = asdict(self)
        for name in ("channels", "blocks"):
            data[name] = list(data[name])
        return {**data, "milestones": [list(milestone) for milestone in self.milestones]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ProxyConfig":
        """Options saved by `to_json`.

        Raises:
            ConfigError: an unknown or unusable option.
        """
        return cls(**known_options(cls, data, "proxy"))


_LARGE: dict[str, Any] = {
    "channels": (16, 32, 32),
    "blocks": (1, 1, 1),
    "epochs": 5,
    "batch_size": 64,
    "learning_rate": 0.01,
    "milestones": (),
    "train_samples": 5000,
}
_DIGITS = {"epochs": 10, "batch_size": 64, "milestones": ((3, 0.18), (4, 0.37), (5, 0.45), (6, 0.49), (7, 0.55))}
_MOTIFS = {**_LARGE, "epochs": 3, "batch_size": 50, "milestones": ((2, 0.02),), "train_samples": None}
_SHAPES = {**_LARGE, "channels": (16, 32), "blocks": (2, 2), "epochs": 10, "train_samples": None}
_CIFAR = {**_LARGE, "channels": (32, 64, 128), "train_samples": 10_000}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "shifted_digits": {},
    "digits": _DIGITS,
    "motifs": _MOTIFS,
    "shapes": _SHAPES,
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
}


def _check_network(config: ProxyConfig) -> None:
    if config.spatial_dims not in (0, 1, 2):
        raise ConfigError(f"spatial_dims is {config.spatial_dims}: expected 0, 1 or 2")
    for name in ("channels", "blocks"):
        value = getattr(config, name)
        if not value or any(not isinstance(number, int) or number < 1 for number in value):
            raise ConfigError(f"{name} is {value}: expected a whole number of at least 1 for each stage")
    if len(config.channels) != len(config.blocks):
        raise ConfigError(f"channels {config.channels} and blocks {config.blocks} differ in length: give one a stage")


def _check_schedule(config: ProxyConfig) -> None:
    for name in ("epochs", "batch_size"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: expected at least 1")
    if config.batch_size < 2:
        raise ConfigError(f"batch_size is {config.batch_size}: expected at least 2 (batch normalisation needs them)")
    if config.train_samples is not None and config.train_samples < config.batch_size:
        raise ConfigError(f"train_samples is {config.train_samples}: expected at least batch_size={config.batch_size}")
    if not 0 < config.learning_rate <= 10:
        raise ConfigError(f"learning_rate is {config.learning_rate}: expected a number above 0, at most 10")
    if not 0 <= config.weight_decay <= 10:
        raise ConfigError(f"weight_decay is {config.weight_decay}: expected a number from 0 to 10")
    for milestone in config.milestones:
        if len(milestone) != 2 or milestone[0] < 1 or not 0 <= milestone[1] <= 1:
            raise ConfigError(f"milestone {milestone} is unusable: expected an epoch from 1 and a quality from 0 to 1")
