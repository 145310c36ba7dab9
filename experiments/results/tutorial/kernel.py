import torch
from torch import nn


class Kernel_ad39e6754804(nn.Module):
    """A kernel of 2 primitives; input and output are [N, C, H, W]."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False)
        nn.init.normal_(self.conv1.weight, std=9 ** -0.5)
        self.fc2 = nn.Conv2d(c, c, 1, bias=False)
        nn.init.normal_(self.fc2.weight, std=c ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        # t1: 3x3 depthwise convolution, C channels -> [N, C, H, W]
        t1 = self.conv1(x)
        # t2: FC to C channels -> [N, C, H, W]
        t2 = self.fc2(t1)
        return t2


# canvas_rl kernel: {"format": "canvas_rl/kernel", "version": 1, "hash": "ad39e6754804c198f330801cd9fae447", "spatial_fixed": true, "sites": [[64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [32, 12, 12]], "nodes": [{"type": "Input", "spatial_dims": 2, "inputs": [], "shape": "[C, H, W]"}, {"type": "Convolution", "out": "C", "kh": 3, "kw": 3, "dilation": 1, "depthwise": true, "inputs": [0], "shape": "[C, H, W]"}, {"type": "FC", "out": "C", "inputs": [1], "shape": "[C, H, W]"}, {"type": "Output", "spatial_dims": 2, "swapped": false, "inputs": [2], "shape": "[C, H, W]"}], "program": ["conv(3x3,d1,depthwise)", "fc(C)", "output(1)"]}
