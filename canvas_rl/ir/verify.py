"""The verifier: every rule that a kernel graph must keep."""

from typing import TYPE_CHECKING

from canvas_rl.errors import GraphError
from canvas_rl.primitives.io import Input, Output
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.size import FIRST_VARIABLE

if TYPE_CHECKING:
    from canvas_rl.ir.graph import KernelGraph
    from canvas_rl.symbolic.site import Site


def verify(graph: "KernelGraph") -> None:
    """Check a graph's structure, every shape rule, and that it is legal at the sites it was solved for.

    Raises:
        GraphError: the first broken rule, with the primitive and the sizes.
    """
    nodes = graph.nodes
    if len(nodes) < 3 or not isinstance(nodes[0].primitive, Input) or not isinstance(nodes[-1].primitive, Output):
        raise GraphError("a kernel needs an Input first, an Output last and at least one primitive between them")
    for index, node in enumerate(nodes):
        if isinstance(node.primitive, Input | Output) and index not in (0, len(nodes) - 1):
            raise GraphError(f"node {index} is a second {node.primitive.family}")
        if len(node.inputs) != node.primitive.arity or not all(0 <= operand < index for operand in node.inputs):
            raise GraphError(
                f"node {index} ({node.primitive.family}) reads {node.inputs}: "
                f"expected {node.primitive.arity} earlier nodes"
            )
    _check_shapes(graph)
    _check_use(graph)
    for site in graph.sites:
        check_site(graph, site)


def _check_shapes(graph: "KernelGraph") -> None:
    for index, node in enumerate(graph.nodes):
        try:
            typed = node.primitive.infer(graph.input_shapes(index))
        except GraphError as error:
            raise GraphError(f"node {index}: {error}") from error
        if typed.shape != node.shape:
            raise GraphError(
                f"node {index} ({node.primitive.family}) has the shape {node.shape}: its rule gives {typed.shape}"
            )
        for size in node.shape.sizes():
            if size.has_variables:
                raise GraphError(f"node {index} ({node.primitive.family}) has the unsolved size {size}")
        for weight in node.primitive.weights(graph.input_shapes(index)):
            for size in weight.sizes:
                if any(symbol >= FIRST_VARIABLE for symbol, _ in size.exps):
                    raise GraphError(f"node {index} ({node.primitive.family}) has a weight of the unsolved size {size}")
                if size.has_spatial and not graph.spatial_fixed:
                    raise GraphError(
                        f"node {index} ({node.primitive.family}) has a weight of size {size}, "
                        "but must run at any resolution"
                    )


def _check_use(graph: "KernelGraph") -> None:
    used = {operand for node in graph.nodes for operand in node.inputs}
    unused = set(range(len(graph.nodes) - 1)) - used
    if unused:
        index = min(unused)
        raise GraphError(f"node {index} ({graph.nodes[index].primitive.family}) does not reach the output")


def check_site(graph: "KernelGraph", site: "Site") -> None:
    """Refuse a site with other spatial dims or where some size is no integer.

    Raises:
        GraphError: as above, naming the primitive and the size.
    """
    if site.spatial_dims != graph.spatial_dims:
        raise GraphError(
            f"the kernel serves sites of {graph.spatial_dims} spatial dims, and {site} has {site.spatial_dims}"
        )
    binding = Binding((site,), graph.spatial_fixed)
    for index, node in enumerate(graph.nodes):
        rules = node.primitive.infer(graph.input_shapes(index)).constraints
        for constraint in (*rules, *(Constraint(size) for size in node.shape.sizes())):
            if not binding.at_least(constraint.size, constraint.least):
                raise GraphError(
                    f"the kernel does not fit {site}: {constraint.size} of node {index} ({node.primitive.family}) "
                    f"must be an integer of at least {constraint.least} there"
                )
