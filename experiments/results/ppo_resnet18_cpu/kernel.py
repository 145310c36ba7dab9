import torch
from torch import nn


class Kernel_697b5ef0188b(nn.Module):
    """A kernel of 2 primitives; input and output are [N, C, H, W]."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.scale1 = nn.Parameter(torch.empty(c, h, w))
        nn.init.ones_(self.scale1)
        self.conv2 = nn.Conv2d(c, c, 5, padding=4, dilation=2, groups=c, bias=False)
        nn.init.normal_(self.conv2.weight, std=25 ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        # t1: learned scale over C, H, W -> [N, C, H, W]
        t1 = x * self.scale1
        # t2: 5x5 depthwise convolution, dilation 2, C channels -> [N, C, H, W]
        t2 = self.conv2(t1)
        return t2


# canvas_rl kernel: {"format": "canvas_rl/kernel", "version": 1, "hash": "697b5ef0188b55e7c6f077cfdea4382d", "spatial_fixed": true, "sites": [[64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [32, 8, 8]], "nodes": [{"type": "Input", "spatial_dims": 2, "inputs": [], "shape": "[C, H, W]"}, {"type": "Scale", "dims": ["0.C", "1.H", "1.W"], "inputs": [0], "shape": "[C, H, W]"}, {"type": "Convolution", "out": "C", "kh": 5, "kw": 5, "dilation": 2, "depthwise": true, "inputs": [1], "shape": "[C, H, W]"}, {"type": "Output", "spatial_dims": 2, "swapped": false, "inputs": [2], "shape": "[C, H, W]"}], "program": ["scale(all)", "conv(5x5,d2,depthwise)", "output(1)"]}
