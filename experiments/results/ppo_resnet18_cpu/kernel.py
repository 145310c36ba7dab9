import torch
from torch import nn
from torch.nn import functional as F


class Kernel_d6a300352c78(nn.Module):
    """A kernel of 5 primitives; input and output are [N, C, H, W]."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.scale2 = nn.Parameter(torch.empty(c))
        nn.init.ones_(self.scale2)
        self.fc3 = nn.Linear(c, c, bias=False)
        nn.init.normal_(self.fc3.weight, std=c ** -0.5)
        self.mix5 = nn.Parameter(torch.empty(c * w, w))
        nn.init.normal_(self.mix5, std=w ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        # t1: maximum over H, W -> [N, C=C]
        t1 = x.amax(dim=(2, 3))
        # t2: learned scale over C -> [N, C=C]
        t2 = t1 * self.scale2
        # t3: FC to C channels -> [N, C=C]
        t3 = self.fc3(t2)
        # t4: matrix product over group 0 of lhs and 0 of rhs -> [N, H=H, W=W]
        t4 = torch.bmm(x.reshape(n, c, h * w).transpose(1, 2), t3.reshape(n, c, 1)) * c ** -0.5
        t4 = t4.reshape(n, h, w)
        # t5: learned mix of W to C*W -> [N, H=H, W=C*W]
        t5 = torch.einsum("nab,Bb->naB", t4, self.mix5)
        return t5.reshape(n, c, h, w)


# canvas_rl kernel: {"format": "canvas_rl/kernel", "version": 1, "hash": "d6a300352c788b8090ed7debba28f0fc", "spatial_fixed": true, "sites": [[64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [32, 8, 8]], "nodes": [{"type": "Input", "spatial_dims": 2, "inputs": [], "shape": "[C=C, H=H, W=W]"}, {"type": "Fold", "dims": ["1.H", "1.W"], "kind": "max", "inputs": [0], "shape": "[C=C]"}, {"type": "Scale", "dims": ["0.C"], "inputs": [1], "shape": "[C=C]"}, {"type": "FC", "out": "C", "inputs": [2], "shape": "[C=C]"}, {"type": "BMM", "lhs": 0, "rhs": 0, "softmax": false, "inputs": [0, 3], "shape": "[H=H, W=W]"}, {"type": "Mix", "dims": ["0.W"], "new": ["C*W"], "inputs": [4], "shape": "[H=H, W=C*W]"}, {"type": "Output", "spatial_dims": 2, "swapped": true, "inputs": [5], "shape": "[C=C, H=H, W=W]"}], "program": ["push(0)", "fold(1.HW,max)", "scale(0.C)", "fc(x)", "bmm(under.0,top.0)", "mix(0.W,fresh)", "output(1)"]}
