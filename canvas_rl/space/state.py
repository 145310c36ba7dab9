"""The state of a program while it is being built."""

from collections.abc import Mapping
from dataclasses import dataclass

from canvas_rl.ir import KernelGraph, Node
from canvas_rl.primitives.facts import Facts
from canvas_rl.primitives.receptive import Field
from canvas_rl.space.sizes import NO_SIZES, Sizes
from canvas_rl.symbolic.size import Size


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


@dataclass(frozen=True, slots=True)
class Costs:
    """Static cost so far, each a sum of symbolic sizes."""

    flops: tuple[Size, ...] = ()
    params: tuple[Size, ...] = ()
    activation: tuple[Size, ...] = ()

    def plus(self, flops: tuple[Size, ...], params: tuple[Size, ...], elements: Size) -> "Costs":
        """The cost after one more primitive."""
        return Costs((*self.flops, *flops), (*self.params, *params), (*self.activation, elements))

    def substitute(self, values: Mapping[int, Size]) -> "Costs":
        """The cost with free variables replaced."""
        parts = (self.flops, self.params, self.activation)
        return Costs(*(tuple(size.substitute(values) for size in part) for part in parts))


@dataclass(frozen=True, slots=True)
class State:
    """An unfinished (or just finished) program; immutable.

    Attributes:
        limits: what the kernel must keep to.
        nodes: tensors made so far; node 0 is the input.
        stack: indices of the tensors on the stack, the top last.
        fields: receptive field of each tensor.
        facts: what is known of each tensor.
        program: names of the actions so far.
        primitives: number of primitives so far.
        weighted: how many of them have weights.
        families: their families.
        group_count: the kernel's global group count, once one is used.
        sizes: what is known of the free variables.
        costs: static cost so far.
        plan: actions that certainly finish the kernel, where one had to be searched.
        graph: the kernel, once finished.
    """

    limits: Limits
    nodes: tuple[Node, ...]
    stack: tuple[int, ...]
    fields: tuple[Field, ...]
    facts: tuple[Facts, ...]
    program: tuple[str, ...] = ()
    primitives: int = 0
    weighted: int = 0
    families: frozenset[str] = frozenset()
    group_count: int | None = None
    sizes: Sizes = NO_SIZES
    costs: Costs = Costs()
    plan: tuple[int, ...] = ()
    graph: KernelGraph | None = None

    @property
    def done(self) -> bool:
        """Whether the kernel is finished."""
        return self.graph is not None

    @property
    def remaining(self) -> int:
        """How many more primitives fit."""
        return self.limits.max_primitives - self.primitives

    @property
    def pushed(self) -> bool:
        """Whether the last action was a push."""
        return bool(self.program) and self.program[-1].startswith("push")

    @property
    def top(self) -> Node:
        """The tensor on top of the stack."""
        return self.nodes[self.stack[-1]]
