"""The kernel graph: a legal kernel with all sizes solved."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from canvas_rl.errors import GraphError
from canvas_rl.ir.canonical import canonical_hash
from canvas_rl.primitives import Primitive, Typed
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.site import Site


class Node(NamedTuple):
    """One tensor of a kernel: the primitive that makes it, the tensors it reads, its shape."""

    primitive: Primitive
    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class KernelGraph:
    """A legal kernel: node 0 is the Input, the last one the Output, operands come before their users.

    Equal by what it computes (canonical hash); the program and the sites are how it came about.

    Args:
        nodes: the tensors.
        spatial_fixed: whether weights may have the sites' image sizes.
        sites: the sites it was solved for.
        program: the names of the actions that built it.

    Raises:
        GraphError: a node reads what is no earlier node, or has a damaged primitive; `verify` checks all other rules.
    """

    nodes: tuple[Node, ...] = field(compare=False)
    spatial_fixed: bool = field(default=True, compare=False)
    sites: tuple[Site, ...] = field(default=(), compare=False)
    program: tuple[str, ...] = field(default=(), compare=False)
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        from canvas_rl.ir.verify import check_structure

        check_structure(self.nodes)
        object.__setattr__(self, "hash", canonical_hash(self.nodes))

    @property
    def spatial_dims(self) -> int:
        """Spatial dims of the sites it serves: 0, 1 or 2."""
        return len(self.nodes[0].shape.second.present())

    @property
    def length(self) -> str:
        """How many primitives it has, in words: "1 primitive", "2 primitives"."""
        return f"{self.primitive_count} primitive{'s' * (self.primitive_count != 1)}"

    @property
    def primitive_count(self) -> int:
        """Primitives without Input and Output."""
        return len(self.nodes) - 2

    @property
    def name(self) -> str:
        """A short name made from the hash."""
        return f"Kernel_{self.hash[:12]}"

    def input_shapes(self, index: int) -> tuple[Shape, ...]:
        """Shapes of a node's operands."""
        return tuple(self.nodes[operand].shape for operand in self.nodes[index].inputs)

    @cached_property
    def typed(self) -> tuple[Typed, ...]:
        """What the shape rule of each node gives for its operands: a shape and constraints.

        Raises:
            GraphError: a rule is broken; the message names the node, its operands' shapes and the rule.
        """
        from canvas_rl.ir.verify import infer

        return tuple(infer(i, node.primitive, self.input_shapes(i)) for i, node in enumerate(self.nodes))

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families of its primitives, in order, Input and Output left out."""
        return tuple(node.primitive.family for node in self.nodes[1:-1])

    def check(self, site: Site) -> None:
        """Refuse a site whose sizes the kernel can't have.

        Raises:
            GraphError: another number of spatial dims, or a size that is no integer there.
        """
        from canvas_rl.ir.verify import check_fit

        check_fit(self, (site,))

    def to_json(self) -> dict[str, Any]:
        """The versioned JSON form."""
        from canvas_rl.ir.serialize import graph_to_json

        return graph_to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> "KernelGraph":
        """The graph that `to_json` wrote, verified.

        Raises:
            FormatError: damaged, or written by a version that can't be read.
            GraphError: it breaks a rule of the kernel language.
        """
        from canvas_rl.ir.serialize import graph_from_json

        return graph_from_json(data)

    def require_fits(self, sites: tuple[Site, ...]) -> None:
        """`check` at several sites."""
        if not sites:
            raise GraphError("no site was given")
        for site in sites:
            self.check(site)
