"""The interpreter: what a kernel graph computes, in numpy from the primitives' definitions."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from canvas_rl.errors import GraphError, InternalError
from canvas_rl.ir.graph import KernelGraph
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size

Weights = Mapping[int, tuple[Array, ...]]


class Interpretation(NamedTuple):
    """What a batch gave and what it took.

    Attributes:
        values: the output of each node, the last one that of the kernel, [N, *site.shape].
        contracted: FLOPs of contractions (FC, Convolution, Mix, the product of BMM), 2 per multiply-add.
        elementary: FLOPs of all other operations, 1 each.
    """

    values: tuple[Array, ...]
    contracted: int
    elementary: int

    @property
    def output(self) -> Array:
        """The kernel's output."""
        return self.values[-1]

    @property
    def flops(self) -> int:
        """FLOPs of the whole batch."""
        return self.contracted + self.elementary

    @property
    def activation(self) -> int:
        """Elements of all primitives' outputs, added up over the whole batch."""
        return sum(value.size for value in self.values[1:-1])


def weight_shapes(graph: KernelGraph, site: Site) -> dict[int, tuple[tuple[int, ...], ...]]:
    """Shapes of the learned tensors at a site, by the index of their node; nodes without weights are left out.

    Raises:
        GraphError: the kernel does not fit the site.
    """
    graph.check(site)
    integer = partial(_integer, symbol_values(site))
    shapes = {
        index: tuple(tuple(map(integer, weight.sizes)) for weight in node.primitive.weights(graph.input_shapes(index)))
        for index, node in enumerate(graph.nodes)
    }
    return {index: tensors for index, tensors in shapes.items() if tensors}


def random_weights(graph: KernelGraph, site: Site, rng: np.random.Generator) -> dict[int, tuple[Array, ...]]:
    """Normal weights in float64 that keep the variance, Scale's among them.

    Raises:
        GraphError: the kernel does not fit the site.
    """
    weights: dict[int, tuple[Array, ...]] = {}
    for index, shapes in weight_shapes(graph, site).items():
        declared = graph.nodes[index].primitive.weights(graph.input_shapes(index))
        fans = [_integer(symbol_values(site), weight.fan_in) for weight in declared]
        weights[index] = tuple(rng.normal(0, fan**-0.5, shape) for fan, shape in zip(fans, shapes, strict=True))
    return weights


def interpret(graph: KernelGraph, site: Site, x: Array, weights: Weights) -> Interpretation:
    """Run a kernel on a batch, in the precision of `x`.

    Args:
        graph: a verified kernel.
        site: where it runs.
        x: the input, [N, *site.shape].
        weights: the learned tensors by node, shaped as `weight_shapes` says.

    Raises:
        GraphError: the kernel does not fit the site, or `x` or a weight has another shape than it needs.
    """
    needed = weight_shapes(graph, site)
    if x.shape[1:] != site.shape or not len(x):
        raise GraphError(f"the input has the shape {x.shape}: {site} needs a batch of {site.shape}")
    given = {index: tuple(tensor.shape for tensor in tensors) for index, tensors in weights.items()}
    if given != needed:
        raise GraphError(f"the weights have the shapes {given}: the kernel needs {needed} at {site}")
    integer = partial(_integer, symbol_values(site))
    values: list[Array] = []
    contracted = elementary = 0
    with np.errstate(all="ignore"):  # overflow is the kernel's, and shows in what it gives
        for index, node in enumerate(graph.nodes):
            work = Calculation(graph.input_shapes(index), node.shape, integer)
            learned = tuple(tensor.astype(x.dtype) for tensor in weights.get(index, ()))
            operands = tuple(values[operand] for operand in node.inputs) or (x,)
            value = node.primitive.reference(operands, learned, work)
            if value.shape != work.shape(len(x)):
                raise InternalError(f"node {index} ({node.primitive.family}) gave {value.shape}, not {node.shape}")
            values.append(value)
            contracted, elementary = contracted + work.contracted, elementary + work.elementary
    return Interpretation(tuple(values), contracted, elementary)


def _integer(values: Mapping[int, int], size: Size) -> int:
    num, den = size.fraction(values)
    if num % den:
        raise GraphError(f"the size {size} is no integer there")
    return num // den
