"""The registry of backbones, and building one for a configuration."""

import hashlib
import json
from typing import Any

from torch import nn

from canvas_rl.evaluation.data import Dataset, DatasetShape, describe_dataset
from canvas_rl.evaluation.proxy.config import ProxyConfig
from canvas_rl.evaluation.proxy.residual import MakeKernel
from canvas_rl.registry import Registry
from canvas_rl.symbolic.site import Site

BACKBONES = Registry("backbone", {"residual": "canvas_rl.evaluation.proxy.residual:ResidualBackbone"})


def sample_shape(image_shape: tuple[int, int, int], spatial_dims: int) -> tuple[int, ...]:
    """Shape of one input of the backbone: the image, its rows stacked into channels (1-D), or a vector (0-D)."""
    channels, height, width = image_shape
    return {2: image_shape, 1: (channels * height, width), 0: (channels * height * width,)}[spatial_dims]


def proxy_sites(config: ProxyConfig, dataset: Dataset | None = None) -> tuple[Site, ...]:
    """The different sites of the backbone, in order: a kernel must be legal at all of them.

    Args:
        config: backbone and data set.
        dataset: the loaded data set, which spares loading it again where its shape is not known beforehand.

    Raises:
        UnknownNameError: no such data set or backbone.
        DatasetError: the data set had to be loaded and could not be.
    """
    image_shape, _ = _describe(config, dataset)
    sites = BACKBONES.get(config.backbone).sites(sample_shape(image_shape, config.spatial_dims), config)
    return tuple(dict.fromkeys(sites))


def build_backbone(
    config: ProxyConfig, make_kernel: MakeKernel, dataset: Dataset | DatasetShape | None = None
) -> nn.Module:
    """The backbone with fresh weights and fresh kernels in its places; draws from torch's global generator.

    Args:
        config: backbone and data set.
        make_kernel: gives a new kernel for a site; it is called once for each place.
        dataset: as in `proxy_sites`; its shape is enough.

    Raises:
        UnknownNameError: no such data set or backbone.
        DatasetError: the data set had to be loaded and could not be.
    """
    image_shape, classes = _describe(config, dataset)
    shape = sample_shape(image_shape, config.spatial_dims)
    network: nn.Module = BACKBONES.get(config.backbone)(shape, classes, config, make_kernel)
    return network


def proxy_fingerprint(config: ProxyConfig, dataset: Dataset) -> str:
    """SHA-256 (hexadecimal) of all that quality depends on: the options and the data, wherever the files lie."""
    options: dict[str, Any] = config.to_json()
    content = {**options, "dataset": dataset.fingerprint, "data_dir": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _describe(config: ProxyConfig, dataset: Dataset | DatasetShape | None) -> DatasetShape:
    if dataset is not None:
        return DatasetShape(dataset.image_shape, dataset.classes)
    return describe_dataset(config.dataset, config.data_dir, config.data_seed)
