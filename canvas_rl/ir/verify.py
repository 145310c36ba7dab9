"""The verifier: every rule that a kernel graph must keep."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from canvas_rl.errors import CanvasError, GraphError, shown
from canvas_rl.primitives import Primitive, Typed, primitive_from_json
from canvas_rl.primitives.io import Input, Output
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Shape

if TYPE_CHECKING:
    from canvas_rl.ir.graph import KernelGraph, Node
    from canvas_rl.symbolic.site import Site


def verify(graph: "KernelGraph") -> None:
    """Check every shape rule, that all is used, and that the graph is legal at the sites it was solved for.

    Raises:
        GraphError: the first broken rule, with the primitive and the sizes.
    """
    _check_shapes(graph)
    _check_use(graph)
    check_fit(graph, graph.sites)


def check_structure(nodes: "Sequence[Node]") -> None:
    """Refuse nodes that are no graph from one Input to one Output in which operands come before their users.

    Raises:
        GraphError: a damaged primitive, operands that are not as many earlier nodes as needed, other ends.
    """
    for index, node in enumerate(nodes):
        reason = _damage(node.primitive)
        if reason:
            raise GraphError(f"node {index}: {reason}")
        if len(node.inputs) != node.primitive.arity or not all(
            type(operand) is int and 0 <= operand < index for operand in node.inputs
        ):
            raise GraphError(
                f"node {index} ({node.primitive.family}) reads {shown(node.inputs)}: "
                f"expected {node.primitive.arity} earlier nodes"
            )
    families = [node.primitive.family for node in nodes]
    if len(nodes) < 3 or families[0] != "Input" or families[-1] != "Output":
        raise GraphError(
            "a kernel needs an Input first, an Output last and at least one primitive between them, "
            f"not {shown(families)}"
        )
    for index, node in enumerate(nodes[1:-1], start=1):
        if isinstance(node.primitive, Input | Output):
            raise GraphError(f"node {index} is a second {node.primitive.family}, of shape {node.shape}")


def _damage(primitive: object) -> str:
    """What is wrong with a primitive's fields; empty where they are of the right kind."""
    try:
        return _damaged_fields(primitive, tuple(map(type, vars(primitive).values())))
    except TypeError:  # it can't be hashed
        return f"{shown(primitive)} has damaged fields"


@lru_cache(maxsize=1 << 12)
def _damaged_fields(primitive: object, kinds: tuple[type, ...]) -> str:
    """What is wrong with the fields; `kinds` keeps apart primitives that are equal by True being 1."""
    if not isinstance(primitive, Primitive):
        return f"{shown(primitive)} is no primitive"
    try:
        same = primitive_from_json(primitive.to_json()) == primitive
    except CanvasError as error:
        return str(error)
    return "" if same else f"{shown(primitive)} has damaged fields"


def infer(index: int, primitive: Primitive, shapes: tuple[Shape, ...]) -> Typed:
    """What a node's shape rule gives.

    Raises:
        GraphError: the rule is broken; the message names the node, its operands' shapes and the rule.
    """
    try:
        return primitive.infer(shapes)
    except GraphError as error:
        operands = f" of {' and '.join(map(str, shapes))}" if shapes else ""
        raise GraphError(f"node {index} ({primitive.family}{operands}): {error}") from error


def _check_shapes(graph: "KernelGraph") -> None:
    for index, node in enumerate(graph.nodes):
        shape = infer(index, node.primitive, graph.input_shapes(index)).shape
        if shape != node.shape:
            raise GraphError(
                f"node {index} ({node.primitive.family}) has the shape {node.shape}: its rule gives {shape}"
            )
        for size in node.shape.sizes():
            if size.has_variables:
                raise GraphError(f"node {index} ({node.primitive.family}) has the unsolved size {size} in {shape}")
        _check_weights(graph, index)


def _check_weights(graph: "KernelGraph", index: int) -> None:
    family = graph.nodes[index].primitive.family
    for weight in graph.nodes[index].primitive.weights(graph.input_shapes(index)):
        for size in weight.sizes:
            if size.has_variables:
                raise GraphError(f"node {index} ({family}) has a weight of the unsolved size {size}")
            if size.has_spatial and not graph.spatial_fixed:
                raise GraphError(f"node {index} ({family}) has a weight of size {size}, but must run at any resolution")


def _check_use(graph: "KernelGraph") -> None:
    used = {operand for node in graph.nodes for operand in node.inputs}
    unused = set(range(len(graph.nodes) - 1)) - used
    if unused:
        index = min(unused)
        node = graph.nodes[index]
        raise GraphError(f"node {index} ({node.primitive.family} to {node.shape}) does not reach the output")


def check_fit(graph: "KernelGraph", sites: "Sequence[Site]") -> None:
    """Refuse sites with other spatial dims or where some size is no integer.

    Raises:
        GraphError: as above, naming the primitive and the size.
    """
    bounds: dict[Constraint, int] = {}
    for index, node in enumerate(graph.nodes):
        for constraint in (*graph.typed[index].constraints, *map(Constraint, node.shape.sizes())):
            bounds.setdefault(constraint, index)
    for site in sites:
        if site.spatial_dims != graph.spatial_dims:
            raise GraphError(
                f"the kernel serves sites of {graph.spatial_dims} spatial dims, and {site} has {site.spatial_dims}"
            )
        binding = Binding((site,), graph.spatial_fixed)
        for constraint, index in bounds.items():
            if not binding.at_least(constraint.size, constraint.least):
                raise GraphError(
                    f"the kernel does not fit {site}: {constraint.size} of node {index} "
                    f"({graph.nodes[index].primitive.family}) must be an integer of at least {constraint.least} there"
                )
