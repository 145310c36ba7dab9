import torch
from torch import nn


class Kernel_2d73612ba1c1(nn.Module):
    """A kernel of 2 primitives; input and output are [N, C, H, W]."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, (1, 5), padding=(0, 2), groups=c, bias=False)
        nn.init.normal_(self.conv1.weight, std=5 ** -0.5)
        self.conv2 = nn.Conv2d(c, c, 7, padding=3, groups=c, bias=False)
        nn.init.normal_(self.conv2.weight, std=49 ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        # t1: 1x5 depthwise convolution, C channels -> [N, C, H, W]
        t1 = self.conv1(x)
        # t2: 7x7 depthwise convolution, C channels -> [N, C, H, W]
        t2 = self.conv2(t1)
        return t2


# canvas_rl kernel: {"format": "canvas_rl/kernel", "version": 1, "hash": "2d73612ba1c12e78b8340022057cfde2", "spatial_fixed": true, "sites": [[64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [32, 8, 8]], "nodes": [{"type": "Input", "spatial_dims": 2, "inputs": [], "shape": "[C, H, W]"}, {"type": "Convolution", "out": "C", "kh": 1, "kw": 5, "dilation": 1, "depthwise": true, "inputs": [0], "shape": "[C, H, W]"}, {"type": "Convolution", "out": "C", "kh": 7, "kw": 7, "dilation": 1, "depthwise": true, "inputs": [1], "shape": "[C, H, W]"}, {"type": "Output", "spatial_dims": 2, "swapped": false, "inputs": [2], "shape": "[C, H, W]"}], "program": ["conv(1x5,d1,depthwise)", "conv(7x7,d1,depthwise)", "output(1)"]}
