"""FC: a grouped 1x1 convolution over the channel group."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, Weight, require
from canvas_rl.primitives.emission import Scope, reshaped
from canvas_rl.primitives.facts import NO_DIMS, Dims, Facts, Reason, apart, channel_dims, summed, within
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Group, Shape
from canvas_rl.symbolic.size import CHANNELS, ONE, Size, constant, parse

_OUT = Dim(0, "C")


def channel_groups(group: Group) -> Size:
    """The number of groups of a channel group: its G dim, 1 where absent."""
    return group.size("G") or ONE


def taken_over(known: Facts, contracted: Dims) -> str | None:
    """Why what came before can be left out where a weight contracts these dims, group by group of G."""
    if within(known.scaled, contracted):
        return Reason.SCALE_IN_WEIGHT
    if any(dim in known.rolled for dim in contracted if dim.slot != "G"):
        return Reason.ROLL_IN_WEIGHT
    return Reason.SIGN_IN_WEIGHT if known.negated else None


@dataclass(frozen=True)
class FC(Primitive):
    """Grouped 1x1 convolution: channel group to {C: out}, groups = G dim; the weight is [out, in / G, 1, 1]."""

    out: Size

    family = "FC"
    weighted = True

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        require(shape.is_image(), "FC needs a channel group and a spatial group, in this order, not {}", shape)
        share = self.out / channel_groups(shape.first)
        out = shape.with_group(0, shape.first.with_sizes(G=None, C=self.out, KH=None, KW=None))
        return Typed(out, (Constraint(self.out), Constraint(share)))

    def weights(self, inputs: tuple[Shape, ...]) -> tuple[Weight, ...]:
        fan_in = inputs[0].first.numel() / channel_groups(inputs[0].first)
        return (Weight((self.out, fan_in), fan_in),)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(2) * out.numel() * self.weights(inputs)[0].fan_in,)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, channels = operands[0], channel_dims(inputs[0])
        grouped, wide = Dim(0, "G") in channels, self.out is CHANNELS
        made = frozenset((_OUT,))
        return Facts(
            growth=summed(known.growth),
            flat=known.flat and not known.small,
            signed=True,
            normalised=apart(known.normalised, channels),
            scaled=apart(known.scaled, channels),
            absorbs=made,
            dense=NO_DIMS if grouped else made,
            square=wide and known.wide and channels == made,
            wide=wide,
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known, channels = operands[0], channel_dims(inputs[0])
        grouped, wide = Dim(0, "G") in channels, self.out is CHANNELS
        if known.square and (wide or not grouped):
            return Reason.WEIGHT_IN_WEIGHT
        if wide and known.wide and channels == {_OUT} and _OUT in known.dense:
            return Reason.WEIGHT_BEFORE
        return taken_over(known, channels)

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        groups, (rows, share) = work.numel((channel_groups(work.inputs[0].first),)), weights[0].shape
        x, weight = work.matrix(0, values[0]), weights[0].reshape(groups, rows // groups, share)
        parts = [work.contract("oi,nip->nop", weight[g], x[:, g * share : (g + 1) * share]) for g in range(groups)]
        return np.concatenate(parts, axis=1).reshape(work.shape(len(x)))

    def emit(self, scope: Scope) -> None:
        shape = inputs = scope.inputs[0]
        groups, channels, space = channel_groups(shape.first), shape.first.numel(), shape.second.present()
        name, fan_in = scope.attribute("fc"), self.weights((inputs,))[0].fan_in
        flat = reshaped(scope.args[0], shape.sizes(), (channels, *space))
        grouped = "" if groups is ONE else f"groups={groups.python()}, "
        sizes = f"{channels.python()}, {self.out.python()}"
        if not space and not grouped:
            scope.layer(name, f"nn.Linear({sizes}, bias=False)", fan_in)
            scope.assign(f"self.{name}({flat})")
            return
        dims = max(len(space), 1)
        scope.layer(name, f"nn.Conv{dims}d({sizes}, 1, {grouped}bias=False)", fan_in)
        scope.assign(f"self.{name}({flat})" if space else f"self.{name}({flat}.unsqueeze(-1)).squeeze(-1)")

    def describe(self) -> str:
        return f"FC to {self.out} channels"


def _templates(context: FamilyContext) -> Iterator[Template]:
    yield Template("fc(C)", "FC", lambda shapes, fresh: FC(CHANNELS), weighted=True)
    yield Template("fc(x)", "FC", lambda shapes, fresh: FC(fresh()), weighted=True)


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return FC(parse(data["out"]))


FAMILY = Family((FC,), _templates, _parse)
