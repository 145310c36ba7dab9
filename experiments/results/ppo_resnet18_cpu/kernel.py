import torch
from torch import nn


class Kernel_9c374505a301(nn.Module):
    """A kernel of 2 primitives; input and output are [N, C, H, W]."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(c, c, 1, bias=False)
        nn.init.normal_(self.fc1.weight, std=c ** -0.5)
        self.conv2 = nn.Conv2d(c, c, 5, padding=2, groups=c, bias=False)
        nn.init.normal_(self.conv2.weight, std=25 ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        # t1: FC to C channels -> [N, C, H, W]
        t1 = self.fc1(x)
        # t2: 5x5 depthwise convolution, C channels -> [N, C, H, W]
        t2 = self.conv2(t1)
        return t2


# canvas_rl kernel: {"format": "canvas_rl/kernel", "version": 1, "hash": "9c374505a3014496a694652ad24a52c0", "spatial_fixed": true, "sites": [[64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [32, 12, 12]], "nodes": [{"type": "Input", "spatial_dims": 2, "inputs": [], "shape": "[C, H, W]"}, {"type": "FC", "out": "C", "inputs": [0], "shape": "[C, H, W]"}, {"type": "Convolution", "out": "C", "kh": 5, "kw": 5, "dilation": 1, "depthwise": true, "inputs": [1], "shape": "[C, H, W]"}, {"type": "Output", "spatial_dims": 2, "swapped": false, "inputs": [2], "shape": "[C, H, W]"}], "program": ["fc(C)", "conv(5x5,d1,depthwise)", "output(1)"]}
