"""Static cost of a kernel, from its graph alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from canvas_rl.errors import GraphError
from canvas_rl.ir.graph import KernelGraph
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size, product


@dataclass(frozen=True)
class StaticCost:
    """Cost of one sample at one site.

    Attributes:
        flops: 2 per multiply-add, 1 per other elementary operation.
        params: number of weights.
        activation: elements of all primitives' outputs, added up.
    """

    flops: int
    params: int
    activation: int


def static_cost(graph: KernelGraph, site: Site) -> StaticCost:
    """Exact static cost at a site.

    Raises:
        GraphError: the kernel does not fit the site.
    """
    graph.check(site)
    flops: list[Size] = []
    params: list[Size] = []
    activation: list[Size] = []
    for index, node in enumerate(graph.nodes[1:-1], start=1):
        shapes = graph.input_shapes(index)
        flops.extend(node.primitive.flops(shapes, node.shape))
        params.extend(product(weight.sizes) for weight in node.primitive.weights(shapes))
        activation.append(node.shape.numel())
    return StaticCost(_total(flops, site), _total(params, site), _total(activation, site))


def _total(sizes: Iterable[Size], site: Site) -> int:
    values = symbol_values(site)
    total = 0
    for size in sizes:
        num, den = size.fraction(values)
        if num % den:
            raise GraphError(f"the cost {size} is no integer at {site}")
        total += num // den
    return total
