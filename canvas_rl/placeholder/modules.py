"""Hand-written kernels: modules with the constructor that every kernel has (sizes as `c`, `h`, `w`)."""

import torch
from torch import nn


class Identity(nn.Module):
    """Gives back its input; what a placeholder does until it is filled. Takes and ignores any sizes."""

    def __init__(self, c: int = 0, h: int = 0, w: int = 0) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input itself, of any shape."""
        return x


class Conv2D(nn.Module):
    """A 1x1 convolution without bias, [N, C, H, W] to the same shape. The image size is not used."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.conv_impl = nn.Conv2d(c, c, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The convolved input."""
        out: torch.Tensor = self.conv_impl(x)
        return out
