"""Tensors made by primitives one by one, each with its value by the reference and what is known of it."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from canvas_rl.primitives import Primitive
from canvas_rl.primitives.arithmetic import Arithmetic, align
from canvas_rl.primitives.facts import Facts
from canvas_rl.primitives.io import Input
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size


@dataclass(frozen=True)
class Tensor:
    """A tensor at a site."""

    site: Site
    value: Array
    shape: Shape
    facts: Facts

    def then(self, *primitives: Primitive) -> "Tensor":
        """After some primitives without weights."""
        made = self
        for primitive in primitives:
            made = apply(primitive, made)
        return made

    def weighted(self, primitive: Primitive, weight: Array) -> "Tensor":
        """After a primitive with a weight."""
        return apply(primitive, self, weight=weight)

    def joined(self, operation: str, right: "Tensor") -> "Tensor":
        """Joined with another to its right."""
        return apply(Arithmetic(operation, *align(self.shape, right.shape)), self, right)


def integer(site: Site, size: Size) -> int:
    """A size at a site."""
    num, den = size.fraction(symbol_values(site))
    assert num % den == 0
    return num // den


def apply(primitive: Primitive, *operands: Tensor, weight: Array | None = None) -> Tensor:
    """What a primitive makes of its operands."""
    site, shapes = operands[0].site, tuple(operand.shape for operand in operands)
    shape = primitive.infer(shapes).shape
    work = Calculation(shapes, shape, partial(integer, site))
    weights = () if weight is None else (weight,)
    with np.errstate(all="ignore"):
        value = primitive.reference(tuple(operand.value for operand in operands), weights, work)
    return Tensor(site, value, shape, primitive.facts(tuple(operand.facts for operand in operands), shapes))


def refusal(primitive: Primitive, *operands: Tensor) -> str | None:
    """Why the primitive makes no sense on these operands."""
    return primitive.pointless(tuple(o.facts for o in operands), tuple(o.shape for o in operands))


def given(site: Site, seed: int = 0, batch: int = 3) -> Tensor:
    """A normal input."""
    source = Input(site.spatial_dims)
    value = np.random.default_rng(seed).standard_normal((batch, *site.shape))
    return Tensor(site, value, source.infer(()).shape, source.facts((), ()))
