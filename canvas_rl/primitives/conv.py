"""Convolution: same-padded k x k, k x 1 or 1 x k, dense or depthwise."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Fresh, Primitive, Template, Typed, Weight, require
from canvas_rl.primitives.emission import Scope, reshaped
from canvas_rl.primitives.facts import NO_DIMS, Facts, Reason, channel_dims, summed, within
from canvas_rl.primitives.fc import channel_groups, taken_over
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation, neighbour
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import CHANNELS, ONE, Size, constant, parse


@dataclass(frozen=True)
class Convolution(Primitive):
    """Same-padded convolution over the spatial dims that the window spans.

    Args:
        out: output channels; for a depthwise convolution those of the input.
        kh: window height, 1 where it does not span H.
        kw: window width, 1 where it does not span W.
        dilation: distance of the taps.
        depthwise: one filter a channel (no G dim); otherwise groups = G dim.
    """

    out: Size
    kh: int
    kw: int
    dilation: int
    depthwise: bool

    family = "Convolution"
    weighted = True

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        require(shape.is_image(), "Convolution needs a channel group and a spatial group, in this order, not {}", shape)
        channel, spatial = shape
        require(
            channel.size("KH") is None and channel.size("KW") is None, "Convolution takes no KH or KW dim: {}", shape
        )
        for taps, slot in ((self.kh, "H"), (self.kw, "W")):
            require(taps >= 1 and taps % 2 == 1, "Convolution has a window of {}: expected an odd number", taps)
            require(
                taps == 1 or spatial.size(slot) is not None,
                "a {}x{} window needs {}: {}",
                self.kh,
                self.kw,
                slot,
                shape,
            )
        require(
            self.kh * self.kw > 1 and self.dilation >= 1,
            "Convolution needs a window above 1x1 and a dilation of 1 or more",
        )
        if self.depthwise:
            require(channel.size("G") is None, "a depthwise Convolution takes no G dim: {}", shape)
            require(
                channel.size("C") is self.out,
                "a depthwise Convolution keeps the channels of {}, not {}",
                shape,
                self.out,
            )
            return Typed(shape)
        share = self.out / channel_groups(channel)
        out = shape.with_group(0, channel.with_sizes(G=None, C=self.out))
        return Typed(out, (Constraint(self.out), Constraint(share)))

    def weights(self, inputs: tuple[Shape, ...]) -> tuple[Weight, ...]:
        channel = inputs[0].first
        share = ONE if self.depthwise else channel.numel() / channel_groups(channel)
        taps = (constant(self.kh), constant(self.kw))
        return (Weight((self.out, share, *taps), share * taps[0] * taps[1]),)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(2) * out.numel() * self.weights(inputs)[0].fan_in,)

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        return fields[0].grow(self.kh // 2 * self.dilation, self.kw // 2 * self.dilation)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, made = operands[0], frozenset((Dim(0, "C"),))
        dense = not self.depthwise and channel_dims(inputs[0]) == made
        return Facts(
            growth=summed(known.growth),
            flat=known.flat and not known.small,
            signed=True,
            absorbs=made,
            dense=made if dense else NO_DIMS,
            wide=known.wide if self.depthwise else self.out is CHANNELS,
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known, channels = operands[0], channel_dims(inputs[0])
        if not self.depthwise:
            if known.square and Dim(0, "G") not in channels:
                return Reason.WEIGHT_IN_WEIGHT
            return taken_over(known, channels)
        if within(known.scaled, channels):
            return Reason.SCALE_IN_WEIGHT
        return Reason.SIGN_IN_WEIGHT if known.negated else None

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        channel, spatial = work.inputs[0]
        height, width = (work.integer(spatial.size(slot) or ONE) for slot in ("H", "W"))
        x = values[0].reshape(len(values[0]), -1, height, width)
        groups = x.shape[1] if self.depthwise else work.integer(channel_groups(channel))
        x, weight = x.reshape(len(x), groups, -1, height, width), weights[0].reshape(groups, -1, *weights[0].shape[1:])
        parts = []
        for i, j in product(range(self.kh), range(self.kw)):
            seen = neighbour(x, 3, (i - self.kh // 2) * self.dilation)
            seen = neighbour(seen, 4, (j - self.kw // 2) * self.dilation)
            parts.append(work.contract("ngihw,goi->ngohw", seen, weight[..., i, j]))
        result: Array = np.sum(parts, axis=0)
        return result.reshape(work.shape(len(x)))

    def emit(self, scope: Scope) -> None:
        shape = scope.inputs[0]
        channels, name = shape.first.numel(), scope.attribute("conv")
        window = {"H": self.kh, "W": self.kw}
        taps = [window[dim.slot] for dim in shape.dims() if dim.group == 1]
        pads = [tap // 2 * self.dilation for tap in taps]
        groups = self.out if self.depthwise else channel_groups(shape.first)
        options = [f"padding={_compact(pads)}"]
        options += [f"dilation={self.dilation}"] if self.dilation > 1 else []
        options += [] if groups is ONE else [f"groups={groups.python()}"]
        sizes = f"{channels.python()}, {self.out.python()}, {_compact(taps)}"
        constructor = f"nn.Conv{len(taps)}d({sizes}, {', '.join(options)}, bias=False)"
        scope.layer(name, constructor, self.weights((shape,))[0].fan_in)
        scope.assign(f"self.{name}({reshaped(scope.args[0], shape.sizes(), (channels, *shape.second.present()))})")

    def describe(self) -> str:
        dilated = f", dilation {self.dilation}" if self.dilation > 1 else ""
        kind = "depthwise convolution" if self.depthwise else "convolution"
        return f"{self.kh}x{self.kw} {kind}{dilated}, {self.out} channels"


def _compact(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _build(window: tuple[int, int], dilation: int, kind: str, shapes: tuple[Shape, ...], fresh: Fresh) -> Primitive:
    if kind == "depthwise":
        channels = shapes[0].first.size("C")
        require(channels is not None, "a depthwise Convolution needs a C dim")
        assert channels is not None
        return Convolution(channels, *window, dilation, True)
    return Convolution(CHANNELS if kind == "C" else fresh(), *window, dilation, False)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for k in context.options.kernel_sizes:
        windows = {0: [], 1: [(k, 1)], 2: [(k, k), (k, 1), (1, k)]}[context.spatial_dims]
        for window in windows:
            for dilation in context.options.dilated_sizes:
                for kind in ("C", "x", "depthwise"):
                    name = f"conv({window[0]}x{window[1]},d{dilation},{kind})"
                    yield Template(name, "Convolution", partial(_build, window, dilation, kind), weighted=True)


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Convolution(
        parse(data["out"]), int(data["kh"]), int(data["kw"]), int(data["dilation"]), bool(data["depthwise"])
    )


FAMILY = Family((Convolution,), _templates, _parse)
