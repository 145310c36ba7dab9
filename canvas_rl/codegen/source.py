"""PyTorch source of a kernel: standalone, and meant to be read."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from torch import nn

from canvas_rl.errors import InternalError
from canvas_rl.ir import KernelGraph
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import Facts
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import ONE, Size

_HEADER = "import torch\nfrom torch import nn\n"
_FUNCTIONAL = "from torch.nn import functional as F\n"


def generate_source(graph: KernelGraph) -> str:
    """Python source of a module class named `graph.name`; it imports torch alone.

    The class takes c, h, w (as the spatial dims need); its input and output are [N, C], [N, C, H] or [N, C, H, W].
    """
    scopes = _emit(graph)
    arguments = ("c", "h", "w")[: 1 + graph.spatial_dims]
    where = "[N, " + ", ".join(arguments).upper() + "]"
    lines = [
        f"class {graph.name}(nn.Module):",
        f'    """A kernel of {graph.length}; input and output are {where}."""',
        "",
        f"    def __init__(self, {', '.join(f'{name}: int' for name in arguments)}) -> None:",
        "        super().__init__()",
        *_indent(_checks(graph)),
        *_indent(line for scope in scopes for line in scope.init),
        "",
        "    def forward(self, x: torch.Tensor) -> torch.Tensor:",
        f"        n, {', '.join(arguments)} = x.shape",
        *_indent(_forward(graph, scopes)),
    ]
    body = "\n".join(lines) + "\n"
    return _HEADER + (_FUNCTIONAL if "F." in body else "") + "\n\n" + body


def _emit(graph: KernelGraph) -> list[Scope]:
    names = ["x", *(f"t{index}" for index in range(1, len(graph.nodes)))]
    scopes = []
    squares: list[Size] = []
    facts: list[Facts] = []
    for index, node in enumerate(graph.nodes):
        shapes = graph.input_shapes(index)
        known = tuple(facts[operand] for operand in node.inputs)
        before = tuple(squares[operand] for operand in node.inputs)
        squares.append(_modest(node.primitive.mean_square(before, known, shapes)))
        facts.append(node.primitive.facts(known, shapes))
        if index == 0:
            continue
        args = tuple(names[operand] for operand in node.inputs)
        scope = Scope(index, shapes, args, node.shape, names[index], before[0])
        node.primitive.emit(scope)
        scopes.append(scope)
    return scopes


def _modest(size: Size) -> Size:
    """The size, or 1 where products of products have made it absurd."""
    absurd = max(size.num, size.den) > 1 << 32 or any(abs(exp) > 16 for _, exp in size.exps)
    return ONE if absurd else size


def _forward(graph: KernelGraph, scopes: list[Scope]) -> Iterator[str]:
    for node, scope in zip(graph.nodes[1:-1], scopes[:-1], strict=True):
        yield f"# {scope.target}: {node.primitive.describe()} -> {_shape(node.shape)}"
        yield from scope.forward
    last = scopes[-1]
    yield f"return {last.forward[-1].removeprefix(f'{last.target} = ')}"


def _shape(shape: Shape) -> str:
    return f"[{', '.join(('N', *shape.labels()))}]"


def _checks(graph: KernelGraph) -> Iterator[str]:
    """Refuse sizes that the kernel can't have."""
    seen: set[Size] = set()
    for index, node in enumerate(graph.nodes):
        for size in (*(rule.size for rule in graph.typed[index].constraints), *node.shape.sizes()):
            if size in seen:
                continue
            seen.add(size)
            bottom = Size.of(size.den, 1, tuple((symbol, -exp) for symbol, exp in size.exps if exp < 0))
            if bottom == ONE:
                continue
            top = size * bottom
            yield f"if {_grouped(top.python())} % {_grouped(bottom.python())}:"
            yield f'    raise ValueError(f"{top.python()} must be divisible by {bottom.python()}, but {_values(size)}")'


def _grouped(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"({text})"


def _values(size: Size) -> str:
    names = [name for symbol, name in enumerate(("c", "h", "w")) if size.exponent(symbol)]
    return ", ".join(f"{name} is {{{name}}}" for name in names)


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return (f"        {line}" for line in lines)


def module_class(graph: KernelGraph) -> type[nn.Module]:
    """The kernel's module class, built from its verified graph (never from a file's code)."""
    return _compiled(generate_source(graph), graph.name)


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> type[nn.Module]:
    namespace: dict[str, Any] = {"__name__": f"canvas_rl_kernels.{name}"}
    exec(compile(source, f"<{name}>", "exec"), namespace)  # our own generated source
    del namespace["__name__"]  # torch.compile would import a module of that name
    built = namespace.get(name)
    if not (isinstance(built, type) and issubclass(built, nn.Module)):
        raise InternalError(f"the generated source of {name} defines no module")
    return built


def build_module(graph: KernelGraph, site: Site) -> nn.Module:
    """The kernel with fresh weights at a site; input and output are [N, *site.shape].

    Raises:
        GraphError: the kernel does not fit the site.
    """
    graph.check(site)
    return module_class(graph)(*site.shape)
