"""The zoo's operators as people write them in PyTorch, and where each weight is in the generated module.

What the kernel language defines otherwise than the papers is stated where it is written: a matrix product is divided by
the square root of the size it contracts, and folding averages where papers add up.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, k, dims, **options):
    """A same-padded convolution without bias over `dims` axes; `k` may be a tuple."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d}[dims]
    return kind(inputs, outputs, k, padding="same", bias=False, **options)


class Sequence(nn.Sequential):
    """Layers one after the other, whose weights are those of the named attributes."""

    def __init__(self, weights, *layers):
        super().__init__(*layers)
        self.weights = {f"{index}.weight": name for index, name in weights.items()}


def dense(k):
    return lambda c, dims, sizes: Sequence({0: "conv1.weight"}, conv(c, c, k, dims))


class Pointwise(nn.Module):
    weights: ClassVar = {"linear.weight": "fc1.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.linear = nn.Linear(c, c, bias=False)

    def forward(self, x):
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


def grouped(c, dims, sizes):
    return Sequence({0: "conv2.weight"}, conv(c, c, 3, dims, groups=4))


def depthwise(c, dims, sizes):
    return Sequence({0: "conv1.weight"}, conv(c, c, 3, dims, groups=c))


def separable(c, dims, sizes):
    layers = conv(c, c, 3, dims, groups=c), conv(c, c, 1, dims)
    return Sequence({0: "conv1.weight", 1: "fc2.weight"}, *layers)


def dilated(c, dims, sizes):
    return Sequence({0: "conv1.weight"}, conv(c, c, 3, dims, dilation=2))


def spatial(c, dims, sizes):
    return Sequence({0: "conv1.weight", 1: "conv2.weight"}, conv(c, c, (3, 1), 2), conv(c, c, (1, 3), 2))


def bottleneck(c, dims, sizes):
    inner, outer = sizes["fc1.weight"][0], sizes["conv3.weight"][0]
    layers = conv(c, inner, 1, dims), nn.ReLU(), conv(inner, outer, 3, dims), nn.ReLU(), conv(outer, c, 1, dims)
    return Sequence({0: "fc1.weight", 2: "conv3.weight", 4: "fc5.weight"}, *layers)


class Shift(nn.Module):
    weights: ClassVar = {"mix.weight": "fc2.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.mix = conv(c, c, 1, dims)

    def forward(self, x):
        axes = tuple(range(2, x.dim()))
        return self.mix(x.roll((1,) * len(axes), axes))


class ChannelShift(nn.Module):
    """Scale of the image, then of its rolls by +1 and -1 along H, then along W."""

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.scales = nn.Parameter(torch.ones(1 + 2 * dims, c))
        self.mix = conv(c, c, 1, dims)
        self.weights = {f"scales[{i}]": f"scale{max(1, 3 * i)}" for i in range(1 + 2 * dims)}
        self.weights["mix.weight"] = f"fc{6 * dims + 2}.weight"

    def forward(self, x):
        rolls = [x, *(x.roll(step, axis) for axis in range(2, x.dim()) for step in (1, -1))]
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.mix(sum(scale.reshape(shape) * roll for scale, roll in zip(self.scales, rolls, strict=True)))


class LargeKernelAttention(nn.Module):
    weights: ClassVar = {"near.weight": "conv1.weight", "far.weight": "conv2.weight", "mix.weight": "fc3.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.near = conv(c, c, 5, dims, groups=c)
        self.far = conv(c, c, 7, dims, groups=c, dilation=3)
        self.mix = conv(c, c, 1, dims)

    def forward(self, x):
        return x * self.mix(self.far(self.near(x)))


class Involution(nn.Module):
    """The window's entries are averaged, not added up."""

    weights: ClassVar = {"reduce.weight": "fc1.weight", "span.weight": "fc3.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        inner, self.made = sizes["fc1.weight"][0], sizes["fc3.weight"][0]
        self.reduce, self.span = conv(c, inner, 1, dims), conv(inner, self.made, 1, dims)

    def forward(self, x):
        taps = 3 ** (x.dim() - 2)
        image = x if x.dim() == 4 else x.unsqueeze(2)
        size = (3, 3) if x.dim() == 4 else (1, 3)
        n, c, h, w = image.shape
        patches = F.unfold(image, size, padding=tuple(k // 2 for k in size)).reshape(n, c, taps, h, w)
        made = self.span(F.relu(self.reduce(x))).reshape(n, self.made, h, w)
        window = torch.arange(c * taps).reshape(c, taps) % self.made  # 9 numbers a channel, going around
        return (made[:, window] * patches).mean(2).reshape(x.shape)


class SelfAttention(nn.Module):
    """The sum over the keys is divided by the square root of their number."""

    weights: ClassVar = {"query.weight": "fc1.weight", "key.weight": "fc2.weight", "value.weight": "fc4.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        width = sizes["fc1.weight"][0]
        self.query, self.key, self.value = conv(c, width, 1, dims), conv(c, width, 1, dims), conv(c, c, 1, dims)

    def forward(self, x):
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value) / key.shape[1] ** 0.5
        return attended.transpose(1, 2).reshape(x.shape)


class PooledSelfAttention(nn.Module):
    """Keys and values are of the columns' averages; the sum over W of them is divided by the square root of W."""

    weights: ClassVar = {"query.weight": "fc1.weight", "key.weight": "fc3.weight", "value.weight": "fc5.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        width = sizes["fc1.weight"][0]
        self.query, self.key, self.value = conv(c, width, 1, 2), conv(c, width, 1, 1), conv(c, c, 1, 1)

    def forward(self, x):
        columns = x.mean(2)
        query = self.query(x).flatten(2).transpose(1, 2)
        key, value = self.key(columns).transpose(1, 2), self.value(columns).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value) / x.shape[3] ** 0.5
        return attended.transpose(1, 2).reshape(x.shape)


class LocalAttention(nn.Module):
    """Scores are divided by C, not its square root, and the 7 weighted values are averaged."""

    weights: ClassVar = {"query.weight": "fc1.weight", "key.weight": "fc2.weight", "value.weight": "fc7.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.query, self.key, self.value = (conv(c, c, 1, dims) for _ in range(3))

    def forward(self, x):
        key, value = (F.pad(layer(x), (3, 3)).unfold(-1, 7, 1) for layer in (self.key, self.value))
        scores = (self.query(x).unsqueeze(-1) * key).mean(1, keepdim=True)
        return (scores.softmax(-1) * value).mean(-1)


class ChannelAttention(nn.Module):
    """Scores are divided by the square root of the pixels' number, their sums by that of the keys' number."""

    weights: ClassVar = {
        "query.weight": "fc1.weight",
        "key.weight": "fc2.weight",
        "value.weight": "fc4.weight",
        "project.weight": "fc6.weight",
    }

    def __init__(self, c, dims, sizes):
        super().__init__()
        queries, keys = sizes["fc1.weight"][0], sizes["fc2.weight"][0]
        self.query, self.key, self.value = (conv(c, width, 1, dims) for width in (queries, keys, keys))
        self.project = conv(queries, c, 1, dims)

    def forward(self, x):
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value) / key.shape[1] ** 0.5
        return self.project(attended.reshape(x.shape[0], -1, *x.shape[2:]))


class SqueezeExcitation(nn.Module):
    weights: ClassVar = {"squeeze.weight": "fc2.weight", "excite.weight": "fc4.weight"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        inner = sizes["fc2.weight"][0]
        self.squeeze, self.excite = nn.Linear(c, inner, bias=False), nn.Linear(inner, c, bias=False)

    def forward(self, x):
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.flatten(2).mean(2)))))
        return x * gate.reshape(*gate.shape, *[1] * (x.dim() - 2))


class CanvasExample(nn.Module):
    """As Canvas prints it; 1-D sites have H alone."""

    weights: ClassVar = {"w": "scale3"}

    def __init__(self, c, dims, sizes):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, c, c, 5))

    def forward(self, x):
        image = x if x.dim() == 4 else x.unsqueeze(2)
        n, c, h, w = image.shape
        t_1 = F.unfold(image, (1, 5), dilation=(1, 2), padding=(0, 4)).view(n, c * 5, h * w)
        t_2 = torch.bmm(image.reshape(n, c, h * w), t_1.transpose(1, 2)) / (h * w) ** 0.5
        across, padding = ((5, 1), (2, 0)) if x.dim() == 4 else ((1, 5), (0, 2))
        t_5 = F.gelu(F.unfold(torch.relu(image), across, padding=padding))
        t_6 = self.w * t_2.view(n, c, c, 5)
        return (torch.bmm(t_6.view(n, c, c * 5), t_5) / (c * 5) ** 0.5).reshape(x.shape)


HANDWRITTEN = {
    "conv1x1": Pointwise,
    "conv3x3": dense(3),
    "conv5x5": dense(5),
    "conv7x7": dense(7),
    "grouped_conv3x3": grouped,
    "depthwise_conv3x3": depthwise,
    "depthwise_separable": separable,
    "dilated_conv3x3": dilated,
    "spatially_separable": spatial,
    "bottleneck": bottleneck,
    "shift_conv1x1": Shift,
    "channel_shift_conv1x1": ChannelShift,
    "large_kernel_attention": LargeKernelAttention,
    "involution": Involution,
    "self_attention": SelfAttention,
    "pooled_self_attention": PooledSelfAttention,
    "local_attention": LocalAttention,
    "channel_attention": ChannelAttention,
    "squeeze_excitation": SqueezeExcitation,
    "canvas_example": CanvasExample,
}
