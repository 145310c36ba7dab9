"""The residual backbone: small, and built so that only the kernel can look at more than one pixel.

The stem is a 1x1 convolution and the head averages over the whole image. With a 3x3 stem or a head that keeps
positions, networks without any spatial kernel come close to those with one, and quality tells nothing apart.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from canvas_rl.evaluation.proxy.config import ProxyConfig
from canvas_rl.symbolic.site import Site

MakeKernel = Callable[[Site], nn.Module]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class ResidualBackbone(nn.Module):
    """Stem, stages of residual blocks around the kernel, global average pooling, linear head.

    Between stages the image is halved by max pooling and a pointwise layer changes the channels.

    Args:
        sample_shape: channels and spatial sizes of one input, without the batch.
        classes: number of outputs.
        config: `channels` and `blocks` of the stages.
        make_kernel: called once for each block with its site.
    """

    def __init__(
        self, sample_shape: tuple[int, ...], classes: int, config: ProxyConfig, make_kernel: MakeKernel
    ) -> None:
        super().__init__()
        sites = self.sites(sample_shape, config)
        dims = len(sample_shape) - 1
        widths = (sample_shape[0], *config.channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                _pointwise(widths[i], site.c, dims),
                *(_Block(make_kernel(site), site.c, dims) for _ in range(config.blocks[i])),
            )
            for i, site in enumerate(sites)
        )
        self.head = nn.Linear(sites[-1].c, classes)

    @staticmethod
    def sites(sample_shape: tuple[int, ...], config: ProxyConfig) -> tuple[Site, ...]:
        """The site of each stage."""
        return tuple(
            Site(channels, *(max(1, size >> stage) for size in sample_shape[1:]))
            for stage, channels in enumerate(config.channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, [N, classes]."""
        for i, stage in enumerate(self.stages):
            x = stage(_halve(x) if i else x)
        pooled = x.flatten(2).mean(2) if x.dim() > 2 else x
        scores: Tensor = self.head(pooled)
        return scores


class _Block(nn.Module):
    """`relu(x + norm(kernel(x)))`: the kernel's place in a ResNet."""

    def __init__(self, kernel: nn.Module, channels: int, dims: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = _NORM[dims](channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.kernel(x)))


def _pointwise(inputs: int, outputs: int, dims: int) -> nn.Sequential:
    layer = _CONV[dims](inputs, outputs, 1, bias=False) if dims else nn.Linear(inputs, outputs, bias=False)
    return nn.Sequential(layer, _NORM[dims](outputs), nn.ReLU())


def _halve(x: Tensor) -> Tensor:
    """Halve every spatial size that is above 1; sizes are rounded down as the sites' are."""
    windows = [min(2, size) for size in x.shape[2:]]
    if not windows:
        return x
    return F.max_pool2d(x, windows) if len(windows) == 2 else F.max_pool1d(x, windows)
