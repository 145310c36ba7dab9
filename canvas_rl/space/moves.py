"""What every action does to one state: the one rule behind the mask, the transition and the finishing search.

Templates that do the same to a state but for the primitive's name (all element-wise functions, all shifts, ...) share
one check.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from canvas_rl.errors import GraphError
from canvas_rl.ir import Node
from canvas_rl.primitives import Primitive, Template
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.primitives.facts import Facts
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.io import output_for
from canvas_rl.primitives.receptive import Field
from canvas_rl.space.bound import Bound, Equation, Table
from canvas_rl.space.machine import Machine
from canvas_rl.space.sizes import Sizes
from canvas_rl.space.state import State
from canvas_rl.symbolic.size import Size

Solution = tuple[int, Size]
MAX_ARITY = 2


class Change(NamedTuple):
    """A primitive that can be added.

    Attributes:
        state: what it is added to; a free size may have been solved for it.
        template: its template.
        bound: the template on its operands.
        operands: the tensors it takes.
        sizes: those afterwards.
        key: equal for changes of one state that leave the same to be known of the free sizes and the top's shape.
    """

    state: State
    template: Template
    bound: Bound
    operands: tuple[int, ...]
    sizes: Sizes
    key: tuple[Any, ...]


class Moves:
    """The actions on one state; results are kept, so ask one object all that is asked of a state.

    An action is refused with a sentence. Whether the kernel can be finished afterwards is not asked here.
    """

    __slots__ = ("_ending", "_extended", "_full", "_solved", "_tables", "machine", "state")

    def __init__(self, machine: Machine, state: State) -> None:
        self.machine, self.state = machine, state
        self._full: dict[tuple[int, bool], str | None] = {}
        self._tables: dict[tuple[Any, ...], Table] = {}
        self._solved: dict[Solution, State | str] = {}
        self._extended: dict[tuple[Any, ...], Sizes | str] = {}
        self._ending: tuple[Solution | None, Sizes] | str | None = None

    def change(self, index: int) -> Change | str:
        """What adding the primitive of an action does, or why it can't be added or makes no sense."""
        machine, base, solution = self.machine, self.state, None
        template = machine.actions.actions[index].template
        assert template is not None
        refusal = self._refused_all(template)
        if refusal is not None:
            return refusal
        bound = self._table(template.arity, base, None).entry(index)
        if isinstance(bound, Equation):
            solved = self._solve(bound)
            if isinstance(solved, str):
                return solved
            solution, base = solved
            bound = self._table(template.arity, base, solution).entry(index)
        if not isinstance(bound, Bound):
            return bound if isinstance(bound, str) else f"{bound.left} can't be made equal to {bound.right}"
        window = base.stack[-template.arity :]
        operands = tuple(window[i] for i in template.order)
        refusal = self._refused(bound.primitive, operands) or self._pointless(bound.primitive, operands)
        if refusal is not None:
            return refusal
        key = (solution, template.arity, bound.kind)
        sizes = self._extended.get(key)
        if sizes is None:
            sizes = self._extended[key] = self._extend(base, bound)
        return sizes if isinstance(sizes, str) else Change(base, template, bound, operands, sizes, key)

    def candidates(self) -> Iterator[int]:
        """The actions that are not refused for the shapes on top of the stack alone."""
        for arity in range(1, min(len(self.state.stack), MAX_ARITY) + 1):
            yield from self._table(arity, self.state, None).applicable()
        yield from self.machine.actions.others

    def effect(self, change: Change) -> tuple[Any, ...]:
        """Equal for changes after which the same programs finish the kernel."""
        machine, primitive = self.machine, change.bound.primitive
        family = primitive.family if machine.missing(self.state) else None
        field = self.field(change) if machine.fields_matter else None
        return change.key, family, group_count(self.state, primitive), field, self.facts(change)

    def _refused_all(self, template: Template) -> str | None:
        kind = (template.arity, template.weighted)
        if kind not in self._full:
            self._full[kind] = self.machine.full(self.state, template)
        return self._full[kind]

    def _table(self, arity: int, base: State, solution: Solution | None) -> Table:
        table = self._tables.get((arity, solution))
        if table is None:
            shapes = tuple(base.nodes[tensor].shape for tensor in base.stack[-arity:])
            table = self._tables[arity, solution] = self.machine.binder.table(shapes, base.sizes.next_variable)
        return table

    def _solve(self, equation: Equation) -> tuple[Solution, State] | str:
        try:
            solution = self.machine.solver.solve(*equation)
        except GraphError as error:
            return str(error)
        if solution not in self._solved:
            try:
                self._solved[solution] = self.machine.substitute(self.state, dict((solution,)))
            except GraphError as error:
                self._solved[solution] = str(error)
        solved = self._solved[solution]
        return solved if isinstance(solved, str) else (solution, solved)

    def _refused(self, primitive: Primitive, operands: tuple[int, ...]) -> str | None:
        if isinstance(primitive, Arithmetic) and operands[0] == operands[1]:
            return f"{primitive.family} of a tensor with itself makes no sense"
        if isinstance(primitive, Group) and primitive.count not in (None, self.state.group_count or primitive.count):
            return f"the kernel's group count is {self.state.group_count}, not {primitive.count}"
        return None

    def _pointless(self, primitive: Primitive, operands: tuple[int, ...]) -> str | None:
        state = self.state
        facts = tuple(state.facts[operand] for operand in operands)
        reason = primitive.pointless(facts, tuple(state.nodes[operand].shape for operand in operands))
        return None if reason is None else f"{primitive.family} makes no sense here: {reason}"

    def _extend(self, base: State, bound: Bound) -> Sizes | str:
        machine = self.machine
        try:
            sizes = machine.solver.extend(base.sizes, bound.constraints, bound.next_variable, bound.volumes)
            if machine.budget.active:
                machine.budget.check(base.costs.plus(bound.flops, bound.params, bound.shape.numel()), sizes.witness)
        except GraphError as error:
            return str(error)
        return sizes

    def refused_push(self, tensor: int) -> str | None:
        """Why a tensor can't be pushed, or None."""
        state = self.state
        if tensor >= len(state.nodes):
            return f"there is no tensor {tensor} yet"
        if len(state.stack) >= state.limits.width:
            return f"the stack holds {len(state.stack)} tensors, the most allowed"
        if tensor == state.stack[-1] and state.pushed:
            return f"tensor {tensor} was just pushed"
        if tensor == state.stack[-1] and not state.nodes[tensor].shape.dims():
            return f"tensor {tensor} is a single number: nothing can join it with itself"
        return None

    def push_effect(self, tensor: int) -> tuple[Any, ...]:
        """Equal for pushes after which the same programs finish the kernel."""
        state = self.state
        place = state.stack.index(tensor) if tensor in state.stack else None
        field = state.fields[tensor] if self.machine.fields_matter else None
        return state.nodes[tensor].shape, place, tensor == 0, field, state.facts[tensor]

    def ending(self) -> tuple[Solution | None, Sizes] | str:
        """How the kernel can end here: the solution of the output's equation and the sizes; or why it can't."""
        if self._ending is None:
            self._ending = self._end()
        return self._ending

    def _end(self) -> tuple[Solution | None, Sizes] | str:
        machine, state = self.machine, self.state
        if len(state.stack) != 1:
            return f"{len(state.stack)} tensors are on the stack: one must be left"
        reason = machine.unmet(state)
        if reason is not None:
            return reason
        shape = state.top.shape
        output = output_for(shape, machine.spatial_dims)
        reason = output.pointless((state.facts[state.stack[-1]],), (shape,))
        if reason is not None:
            return reason
        have, want = output.equation((shape,))
        if have is want:
            return None, state.sizes
        try:
            solution = machine.solver.solve(have, want)
            values = dict((solution,))
            sizes = machine.solver.substitute(state.sizes, values)
            if machine.budget.active:
                machine.budget.check(state.costs.substitute(values), sizes.witness)
        except GraphError as error:
            return str(error)
        return solution, sizes

    def after_push(self, index: int, tensor: int) -> State:
        """The state after a push that is not refused."""
        state, name = self.state, self.machine.actions.names[index]
        return replace(state, stack=(*state.stack, tensor), program=(*state.program, name), plan=())

    def after(self, change: Change) -> State:
        """The state after a change."""
        state, template, bound, operands = change.state, change.template, change.bound, change.operands
        primitive = bound.primitive
        return State(
            limits=state.limits,
            nodes=(*state.nodes, Node(primitive, operands, bound.shape)),
            stack=(*state.stack[: -template.arity], len(state.nodes)),
            fields=(*state.fields, self.field(change)),
            facts=(*state.facts, self.facts(change)),
            program=(*state.program, template.name),
            primitives=state.primitives + 1,
            weighted=state.weighted + primitive.weighted,
            families=state.families | {primitive.family},
            group_count=group_count(state, primitive),
            sizes=change.sizes,
            costs=state.costs.plus(bound.flops, bound.params, bound.shape.numel()),
        )

    @staticmethod
    def field(change: Change) -> Field:
        """The receptive field of what a change makes."""
        state, operands = change.state, change.operands
        fields = tuple(state.fields[operand] for operand in operands)
        shapes = tuple(state.nodes[operand].shape for operand in operands)
        return change.bound.primitive.receptive(fields, shapes)

    @staticmethod
    def facts(change: Change) -> Facts:
        """What is known of what a change makes."""
        state, operands = change.state, change.operands
        facts = tuple(state.facts[operand] for operand in operands)
        return change.bound.primitive.facts(facts, tuple(state.nodes[operand].shape for operand in operands))

    def ended(self) -> State:
        """The state where the output's equation is solved; the kernel must be able to end."""
        ending = self.ending()
        if isinstance(ending, str):
            raise GraphError(ending)
        return self.state if ending[0] is None else self.machine.substitute(self.state, dict((ending[0],)))


def group_count(state: State, primitive: Primitive) -> int | None:
    """The kernel's group count after a primitive."""
    return primitive.count if isinstance(primitive, Group) and primitive.count is not None else state.group_count
