"""The stack machine: the one function that says whether an action applies and what it gives.

It knows shapes, constraints, budgets and limits. Whether the kernel can still be finished is `finish`'s question.
"""

from dataclasses import replace
from math import ceil
from typing import NamedTuple

from canvas_rl.config import SearchOptions
from canvas_rl.errors import GraphError
from canvas_rl.ir import Node
from canvas_rl.primitives import Fresh, Primitive, Template
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.primitives.base import require
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.io import Input, output_for
from canvas_rl.primitives.receptive import Field
from canvas_rl.space.actions import PUSH, Action, ActionSet
from canvas_rl.space.budget import Budget
from canvas_rl.space.filters import FamilyRules
from canvas_rl.space.state import Costs, Limits, State
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.constraints import Constraint, find_witness, holds, solve_linear
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import FIRST_VARIABLE, Size, product

MAX_VARIABLES = 8
_CACHE_SIZE = 1 << 16


class _Bound(NamedTuple):
    """A template that met its operands."""

    primitive: Primitive
    shape: Shape
    constraints: tuple[Constraint, ...]
    next_variable: int
    volumes: tuple[tuple[Size, int], ...]
    flops: tuple[Size, ...]
    params: tuple[Size, ...]


class Machine:
    """Applies actions to states.

    Args:
        actions: the action set.
        binding: the sites.
        budget: the cost bounds.
        options: the search-space options.
        rules: the resolved filters.
    """

    def __init__(self, actions: ActionSet, binding: Binding, budget: Budget, options: SearchOptions, rules: FamilyRules) -> None:
        self.actions = actions
        self.binding = binding
        self.budget = budget
        self.options = options
        self.rules = rules
        self._bound: dict[tuple[int, tuple[Shape, ...], int], _Bound | str] = {}

    def start(self, limits: Limits) -> State:
        """The empty program: the input is on the stack."""
        primitive = Input(self.binding.sites[0].spatial_dims)
        return State(limits, (Node(primitive, (), primitive.infer(()).shape),), (0,), (Field(),))

    def apply(self, state: State, index: int) -> State:
        """The state after an action, whether or not the kernel can be finished from there.

        Raises:
            GraphError: the action does not apply; the message says why.
        """
        action = self.actions.actions[index]
        require(not state.done, "the kernel is finished")
        if action.template is not None:
            return self._primitive(state, index, action.template)
        if action.push is not None:
            return self._push(state, action, action.push)
        return self.solve_output(state)

    def _push(self, state: State, action: Action, tensor: int) -> State:
        require(tensor < len(state.nodes), f"there is no tensor {tensor} yet")
        require(len(state.stack) < state.limits.width, f"the stack holds {len(state.stack)} tensors, the most allowed")
        again = tensor == state.stack[-1] and bool(state.program) and state.program[-1].startswith(PUSH.lower())
        require(not again, f"tensor {tensor} was just pushed")
        alone = tensor == state.stack[-1] and not state.nodes[tensor].shape.dims()
        require(not alone, f"tensor {tensor} is a single number: nothing can join it with itself")
        return replace(state, stack=(*state.stack, tensor), program=(*state.program, action.name), plan=())

    def _primitive(self, state: State, index: int, template: Template) -> State:
        if len(state.stack) < template.arity:
            raise GraphError(f"{template.family} needs {template.arity} tensors on the stack")
        self._check_counts(state, template)
        window = state.stack[-template.arity :]
        operands = tuple(window[i] for i in template.order)
        bound, state = self._bind(state, index, template, operands)
        self._check_sense(state, bound.primitive, operands)
        state = self._constrain(state, bound.constraints, bound.next_variable, bound.volumes)
        primitive = bound.primitive
        node = Node(primitive, operands, bound.shape)
        fields = tuple(state.fields[operand] for operand in operands)
        shapes = tuple(state.nodes[operand].shape for operand in operands)
        costs = Costs(
            (*state.costs.flops, *bound.flops),
            (*state.costs.params, *bound.params),
            (*state.costs.activation, bound.shape.numel()),
        )
        broken = self.budget.broken(costs, state.witness) if self.budget.active else None
        require(broken is None, f"{broken} would be exceeded")
        return replace(
            state,
            nodes=(*state.nodes, node),
            stack=(*state.stack[: -template.arity], len(state.nodes)),
            fields=(*state.fields, primitive.receptive(fields, shapes)),
            program=(*state.program, template.name),
            primitives=state.primitives + 1,
            weighted=state.weighted + primitive.weighted,
            families=state.families | {primitive.family},
            group_count=self._group_count(state, primitive),
            costs=costs,
            plan=(),
        )

    def _check_counts(self, state: State, template: Template) -> None:
        if state.primitives >= state.limits.max_primitives:
            raise GraphError(f"the kernel has {state.primitives} primitives, the most allowed")
        if template.weighted:
            most = self.options.num_weighted_range[1]
            require(state.weighted < most, f"the kernel has {state.weighted} weighted primitives, the most allowed")
            ratio = self.options.max_weighted_ratio
            total = ceil((state.weighted + 1) / ratio - 1e-9) if ratio else 1 << 30
            require(total <= state.limits.max_primitives, "max_weighted_ratio would be exceeded whatever follows")

    def _bind(self, state: State, index: int, template: Template, operands: tuple[int, ...]) -> tuple[_Bound, State]:
        shapes = tuple(state.nodes[operand].shape for operand in operands)
        key = (index, shapes, state.next_variable)
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) > _CACHE_SIZE:
                self._bound.clear()
            bound = self._bound[key] = self._try_bind(template, shapes, state.next_variable)
        if isinstance(bound, _Bound):
            return bound, state
        primitive = template.build(shapes, Fresh(state.next_variable))
        equation = primitive.equation(shapes)
        if equation is None or equation[0] is equation[1]:
            raise GraphError(bound)
        state = self._solve(state, *equation)
        return self._bind(state, index, template, operands)

    def _try_bind(self, template: Template, shapes: tuple[Shape, ...], next_variable: int) -> _Bound | str:
        fresh = Fresh(next_variable)
        try:
            primitive = template.build(shapes, fresh)
            shape, rules = primitive.infer(shapes)
            weights = primitive.weights(shapes)
            spatial = [size for weight in weights for size in weight.sizes if size.has_spatial]
            require(not spatial or self.binding.spatial_fixed, f"a weight would have the image size {spatial}")
            constraints = self._open((*rules, *(Constraint(size) for size in shape.sizes())))
            params = tuple(product(weight.sizes) for weight in weights)
            volumes = self._open_volumes([(shape.numel(), self.budget.largest_activation)], params)
        except GraphError as error:
            return str(error)
        flops = primitive.flops(shapes, shape)
        return _Bound(primitive, shape, constraints, fresh.next, volumes, flops, params)

    def _open(self, constraints: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
        """The constraints that have free variables; refuses those without that don't hold."""
        for constraint in constraints:
            if not constraint.size.has_variables:
                require(holds(constraint, self.binding, {}), f"{constraint.size} would not be {constraint.least} or more at every site")
        return tuple(dict.fromkeys(c for c in constraints if c.size.has_variables))

    def _open_volumes(self, volumes: list[tuple[Size, int]], params: tuple[Size, ...]) -> tuple[tuple[Size, int], ...]:
        volumes = [*volumes, *((size, self.budget.largest_weight) for size in params)]
        for size, most in volumes:
            if not size.has_variables:
                require(self.budget.fits_volume(size, most, {}), f"a tensor of {size} elements would break the activation limit")
        return tuple((size, most) for size, most in volumes if size.has_variables)

    def _check_sense(self, state: State, primitive: Primitive, operands: tuple[int, ...]) -> None:
        if isinstance(primitive, Arithmetic) and operands[0] == operands[1]:
            raise GraphError(f"{primitive.family} of a tensor with itself makes no sense")
        reason = primitive.pointless(tuple(state.nodes[operand].primitive for operand in operands))
        require(reason is None, reason or "")
        if isinstance(primitive, Group) and primitive.count is not None:
            same = state.group_count in (None, primitive.count)
            require(same, f"the kernel's group count is {state.group_count}, not {primitive.count}")

    def _group_count(self, state: State, primitive: Primitive) -> int | None:
        return primitive.count if isinstance(primitive, Group) and primitive.count is not None else state.group_count

    def _constrain(
        self,
        state: State,
        constraints: tuple[Constraint, ...],
        next_variable: int,
        volumes: tuple[tuple[Size, int], ...],
    ) -> State:
        """Add constraints and fresh variables; the witness is kept where it still holds, else searched anew."""
        known = set(state.constraints)
        added = tuple(c for c in constraints if c not in known)
        fresh = range(state.next_variable, next_variable)
        if not fresh and not added and not volumes:
            return state
        added += tuple(Constraint(Size.of(1, 1, ((variable, 1),)), 2) for variable in fresh)
        every = tuple(dict.fromkeys((*state.constraints, *added)))
        variables = [*state.witness, *fresh]
        require(len(variables) <= MAX_VARIABLES, f"the kernel would have more than {MAX_VARIABLES} free sizes")
        witness = state.witness
        checked = volumes
        if fresh or not all(holds(constraint, self.binding, witness) for constraint in added):
            found = find_witness(variables, every, self.binding, witness)
            if found is None:
                raise GraphError("no values of the free sizes would meet every constraint")
            witness, checked = found, (*state.volumes, *volumes)
        self._check_volumes(checked, witness)
        if witness is not state.witness and self.budget.active:
            broken = self.budget.broken(state.costs, witness)
            require(broken is None, f"{broken} would be exceeded")
        return replace(
            state, constraints=every, next_variable=next_variable, volumes=(*state.volumes, *volumes), witness=witness
        )

    def _check_volumes(self, volumes: tuple[tuple[Size, int], ...], witness: object) -> None:
        for size, most in volumes:
            fits = self.budget.fits_volume(size, most, witness)  # type: ignore[arg-type]
            require(fits, f"a tensor of {size} elements would break the activation limit")

    def _solve(self, state: State, left: Size, right: Size) -> State:
        """Make two sizes equal by solving one free variable, everywhere in the program."""
        solution = solve_linear(left, right)
        if solution is None:
            raise GraphError(f"{left} can't be made equal to {right}")
        variable, value = solution
        require(not (value.has_spatial and not self.binding.spatial_fixed), f"{value} would tie a free size to the image size")
        return self.substitute(state, {variable: value})

    def substitute(self, state: State, values: dict[int, Size]) -> State:
        """Replace free variables everywhere; constraints, volumes and budgets are checked anew.

        Raises:
            GraphError: something no longer holds.
        """
        nodes = tuple(Node(n.primitive.substitute(values), n.inputs, n.shape.substitute(values)) for n in state.nodes)
        constraints = self._open(tuple(dict.fromkeys(c.substitute(values) for c in state.constraints)))
        volumes = tuple((size.substitute(values), most) for size, most in state.volumes)
        volumes = self._open_volumes([v for v in volumes], ())
        costs = Costs(
            *(
                tuple(size.substitute(values) for size in part)
                for part in (state.costs.flops, state.costs.params, state.costs.activation)
            )
        )
        variables = [variable for variable in state.witness if variable not in values]
        kept = {variable: state.witness[variable] for variable in variables}
        witness = find_witness(variables, constraints, self.binding, kept)
        if witness is None:
            raise GraphError("no values of the free sizes would meet every constraint")
        self._check_volumes(volumes, witness)
        state = replace(
            state, nodes=nodes, constraints=constraints, volumes=volumes, costs=costs, witness=witness, plan=()
        )
        broken = self.budget.broken(costs, witness) if self.budget.active else None
        require(broken is None, f"{broken} would be exceeded")
        require(self._weights_allowed(state), "a weight would have an image size")
        return state

    def _weights_allowed(self, state: State) -> bool:
        if self.binding.spatial_fixed:
            return True
        for node in state.nodes[1:]:
            shapes = tuple(state.nodes[operand].shape for operand in node.inputs)
            if any(size.has_spatial for weight in node.primitive.weights(shapes) for size in weight.sizes):
                return False
        return True

    def solve_output(self, state: State) -> State:
        """The state with the output's equation solved.

        Raises:
            GraphError: the kernel can't end here; the message says why.
        """
        if len(state.stack) != 1:
            raise GraphError(f"{len(state.stack)} tensors are on the stack: one must be left")
        reason = self.unmet(state)
        if reason is not None:
            raise GraphError(reason)
        output = output_for(state.top.shape, self.binding.sites[0].spatial_dims)
        have, want = output.equation((state.top.shape,))
        return state if have is want else self._solve(state, have, want)

    def unmet(self, state: State) -> str | None:
        """A requirement on the whole kernel that its single tensor does not meet yet, or None."""
        if state.primitives < state.limits.min_primitives:
            return f"the kernel has {state.primitives} primitives, fewer than the {state.limits.min_primitives} asked for"
        if state.weighted < self.options.num_weighted_range[0]:
            return f"the kernel has {state.weighted} weighted primitives, too few"
        if state.weighted > self.options.max_weighted_ratio * state.primitives + 1e-9:
            return "max_weighted_ratio is exceeded so far"
        missing = self.missing(state)
        if missing:
            return f"a necessary primitive is missing: {missing[0][0]}"
        return None if self.reaches(state, state.stack[-1]) else "the receptive field is smaller than min_receptive_size"

    def missing(self, state: State) -> tuple[tuple[str, frozenset[str]], ...]:
        """Necessary families that the kernel lacks."""
        wanted = self.rules.necessary
        if state.limits.require_bmm:
            wanted = (*wanted, ("force_bmm_possibility", frozenset({"BMM"})))
        return tuple(entry for entry in wanted if not entry[1] & state.families)

    def reaches(self, state: State, tensor: int) -> bool:
        """Whether a tensor's receptive field is as large as asked at every site."""
        least = self.options.min_receptive_size
        return least <= 1 or all(
            state.fields[tensor].pixels(site.h or 1, site.w or 1) >= least for site in self.binding.sites
        )

    def integers(self, state: State, size: Size) -> tuple[int, ...]:
        """What a size is at each site under the witness."""
        values = self.binding.integers(size.substitute(state.witness))
        assert values is not None, f"{size} is no integer under the witness"
        return values


def free_variables(state: State) -> tuple[int, ...]:
    """Free variables of a state, oldest first."""
    return tuple(sorted(variable for variable in state.witness if variable >= FIRST_VARIABLE))
