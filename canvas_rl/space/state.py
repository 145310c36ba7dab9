"""The state of a program while it is being built, as Python sees it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canvas_rl.ir import KernelGraph, Node

if TYPE_CHECKING:
    from canvas_rl.space._core import CoreState
    from canvas_rl.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kernel must keep to, drawn from the ranges of the options.

    Attributes:
        min_primitives: fewest primitives.
        max_primitives: most primitives.
        width: most tensors on the stack.
        require_bmm: whether it must contain a BMM.
    """

    min_primitives: int
    max_primitives: int
    width: int
    require_bmm: bool = False


class State:
    """An unfinished (or just finished) program; immutable. Made by a `SearchSpace`.

    Attributes:
        space: the search space.
        limits: what the kernel must keep to.
        core: the core's state.
        done: whether the kernel is finished.
        primitives: number of primitives so far.
        weighted: how many of them have weights.
    """

    __slots__ = ("_graph", "_nodes", "core", "done", "limits", "primitives", "space", "weighted")

    def __init__(self, space: "SearchSpace", limits: Limits, core: "CoreState") -> None:
        self.space, self.limits, self.core = space, limits, core
        self.done, self.primitives, self.weighted = core.done, core.primitives, core.weighted
        self._nodes: tuple[Node, ...] | None = None
        self._graph: KernelGraph | None = None

    @property
    def actions(self) -> tuple[int, ...]:
        """Indices of the actions so far."""
        return self.core.program

    @property
    def program(self) -> tuple[str, ...]:
        """Names of the actions so far."""
        names = self.space.actions
        return tuple(names[action] for action in self.core.program)

    @property
    def stack(self) -> tuple[int, ...]:
        """Indices of the tensors on the stack, the top last."""
        return self.core.stack

    @property
    def depth(self) -> int:
        """How many tensors are on the stack."""
        return self.core.depth

    @property
    def remaining(self) -> int:
        """How many more primitives fit."""
        return self.limits.max_primitives - self.primitives

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Tensors made so far; node 0 is the input. Sizes have free variables until the kernel is finished."""
        if self._nodes is None:
            self._nodes = self.space.nodes(self)
        return self._nodes

    @property
    def top(self) -> Node:
        """The tensor on top of the stack."""
        return self.nodes[self.stack[-1]]

    @property
    def graph(self) -> KernelGraph | None:
        """The kernel, once finished."""
        if self._graph is None and self.done:
            self._graph = self.space.kernel(self)
        return self._graph

    def __repr__(self) -> str:
        return f"State({' '.join(self.program) or 'empty'})"
