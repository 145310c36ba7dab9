"""The versioned JSON form of a kernel graph."""

from functools import lru_cache
from typing import Any

from canvas_rl.errors import CanvasError, FormatError, PlaceholderError, shown
from canvas_rl.ir.graph import KernelGraph, Node
from canvas_rl.ir.verify import infer, verify
from canvas_rl.primitives import primitive_from_json
from canvas_rl.symbolic.site import Site

FORMAT = "canvas_rl/kernel"
VERSION = 1
_MAX_NODES = 1000


def graph_to_json(graph: KernelGraph) -> dict[str, Any]:
    """The JSON form: one object a node, with its shape for readers and for the check on loading."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "hash": graph.hash,
        "spatial_fixed": graph.spatial_fixed,
        "sites": [list(site.shape) for site in graph.sites],
        "nodes": [
            {**node.primitive.to_json(), "inputs": list(node.inputs), "shape": str(node.shape)} for node in graph.nodes
        ],
        "program": list(graph.program),
    }


def graph_from_json(data: Any) -> KernelGraph:
    """The verified graph of a JSON form.

    Raises:
        FormatError: damaged, or of another version.
        GraphError: a rule of the kernel language is broken.
    """
    _check_version(data)
    try:
        graph = KernelGraph(
            _nodes(data["nodes"]),
            spatial_fixed=_typed(data["spatial_fixed"], bool),
            sites=tuple(_site(_integers(shape)) for shape in data["sites"]),
            program=tuple(_typed(name, str) for name in data["program"]),
        )
        verify(graph)
    except CanvasError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"{type(error).__name__}: {shown(str(error))}"
        raise FormatError(f"the kernel's JSON is damaged ({reason}): restore it from where it was saved") from error
    if data.get("hash") != graph.hash:
        raise FormatError(
            f"the kernel's JSON is damaged: its hash is {shown(data.get('hash'))}, its nodes give {graph.hash!r}"
        )
    return graph


def _check_version(data: Any) -> None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f"this is no kernel JSON: expected an object with format {FORMAT!r}")
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise FormatError(f"the kernel's JSON is damaged: its version is {shown(version)}, expected a whole number")
    if version != VERSION:
        way = f"newer than {VERSION}: update canvas_rl to read it"
        old = f"older than {VERSION}, which is no longer read"
        raise FormatError(f"the kernel's JSON has version {shown(version)}, {way if version > VERSION else old}")


def _nodes(items: Any) -> tuple[Node, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= _MAX_NODES:
        raise FormatError(f"the kernel's JSON is damaged: expected a list of 1 to {_MAX_NODES} nodes")
    nodes: list[Node] = []
    for item in items:
        primitive = primitive_from_json(item)
        inputs = _integers(item["inputs"])
        if not all(0 <= operand < len(nodes) for operand in inputs) or len(inputs) != primitive.arity:
            raise FormatError(
                f"node {len(nodes)} ({primitive.family}) reads {shown(list(inputs))}: "
                f"expected {primitive.arity} earlier nodes"
            )
        shape = infer(len(nodes), primitive, tuple(nodes[operand].shape for operand in inputs)).shape
        if str(shape) != item["shape"]:
            raise FormatError(
                f"node {len(nodes)} ({primitive.family}) has the shape {shown(item['shape'])}: its rule gives {shape}"
            )
        nodes.append(Node(primitive, inputs, shape))
    return tuple(nodes)


@lru_cache(maxsize=1 << 10)
def _site(sizes: tuple[int, ...]) -> Site:
    try:
        return Site(*sizes)
    except PlaceholderError as error:
        raise FormatError(f"the kernel's JSON is damaged: {error}") from error


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(_typed(value, int) for value in _typed(values, list))


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise FormatError(f"the kernel's JSON is damaged: {shown(value)} is no {kind.__name__}")
    return value
