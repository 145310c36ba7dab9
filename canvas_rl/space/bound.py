"""Templates that met their operands, in tables by the operands' shapes."""

from functools import partial
from typing import NamedTuple

from canvas_rl.errors import GraphError
from canvas_rl.primitives import Fresh, Primitive, Template
from canvas_rl.primitives.base import require
from canvas_rl.space.actions import ActionSet
from canvas_rl.space.budget import Budget
from canvas_rl.space.memo import Memo
from canvas_rl.space.sizes import SizeSolver, Volume
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import Size, product

_TABLES = 1 << 6


class Bound(NamedTuple):
    """A template that met its operands.

    Attributes:
        primitive: what it makes.
        shape: of the result.
        constraints: what it adds, those with free variables.
        next_variable: the first unused symbol afterwards.
        volumes: sizes with free variables that have an upper limit.
        flops: cost, as a sum of sizes.
        params: cost, as a sum of sizes.
        kind: equal for templates of one table whose effects on legality are equal.
    """

    primitive: Primitive
    shape: Shape
    constraints: tuple[Constraint, ...]
    next_variable: int
    volumes: tuple[Volume, ...]
    flops: tuple[Size, ...]
    params: tuple[Size, ...]
    kind: int = 0


class Equation(NamedTuple):
    """Two sizes that must be made equal before the template applies."""

    left: Size
    right: Size


class Table:
    """The templates of a search space on operands of given shapes, each bound when it is first asked for.

    Args:
        binder: binds.
        shapes: of the tensors on top of the stack, as many as the templates have operands.
        next_variable: index of the first unused symbol.
    """

    def __init__(self, binder: "Binder", shapes: tuple[Shape, ...], next_variable: int) -> None:
        self._binder, self._shapes, self._next = binder, shapes, next_variable
        self._entries: dict[int, Bound | Equation | str] = {}
        self._kinds: dict[tuple[object, ...], Bound] = {}
        self._applicable: tuple[int, ...] | None = None

    def applicable(self) -> tuple[int, ...]:
        """The templates with as many operands that apply, perhaps after an equation was solved."""
        if self._applicable is None:
            indices = self._binder.actions.of_arity(len(self._shapes))
            self._applicable = tuple(index for index in indices if not isinstance(self.entry(index), str))
        return self._applicable

    def entry(self, index: int) -> Bound | Equation | str:
        """The bound template, the equation to solve first, or why it does not apply."""
        entry = self._entries.get(index)
        if entry is None:
            template = self._binder.actions.actions[index].template
            assert template is not None
            shapes = tuple(self._shapes[i] for i in template.order)
            entry = self._binder.bind(template, shapes, self._next)
            if isinstance(entry, Bound):
                entry = self._share(entry)
            self._entries[index] = entry
        return entry

    def _share(self, bound: Bound) -> Bound:
        """The same with its kind; what templates of a kind have in common is kept once."""
        costs = (bound.flops, bound.params) if self._binder.costs_matter else ()
        effect = (bound.shape, bound.constraints, bound.next_variable, bound.volumes, bound.primitive.weighted, *costs)
        first = self._kinds.get(effect)
        if first is None:
            first = self._kinds[effect] = bound._replace(kind=len(self._kinds))
        return first._replace(primitive=bound.primitive, flops=bound.flops, params=bound.params)


class Binder:
    """Binds templates to operands and keeps the tables of recent shapes.

    Args:
        actions: the action set.
        solver: knows the sites.
        budget: limits of tensors and weights.
    """

    def __init__(self, actions: ActionSet, solver: SizeSolver, budget: Budget) -> None:
        self.actions, self._solver, self._budget = actions, solver, budget
        self.costs_matter = budget.active
        self._tables: Memo[Table] = Memo(_TABLES)

    def table(self, shapes: tuple[Shape, ...], next_variable: int) -> Table:
        """The table of the shapes on top of the stack."""
        return self._tables.get((shapes, next_variable), partial(Table, self, shapes, next_variable))

    def bind(self, template: Template, shapes: tuple[Shape, ...], next_variable: int) -> Bound | Equation | str:
        """The template on operands of these shapes, the equation to solve first, or why it does not apply."""
        fresh = Fresh(next_variable)
        try:
            primitive = template.build(shapes, fresh)
            equation = primitive.equation(shapes)
            if equation is not None and equation[0] is not equation[1]:
                return Equation(*equation)
            return self._type(primitive, shapes, fresh.next)
        except GraphError as error:
            return str(error)

    def _type(self, primitive: Primitive, shapes: tuple[Shape, ...], next_variable: int) -> Bound:
        shape, rules = primitive.infer(shapes)
        weights = primitive.weights(shapes)
        if not self._solver.binding.spatial_fixed:
            spatial = [str(size) for weight in weights for size in weight.sizes if size.has_spatial]
            require(not spatial, "a weight would have the image size {}", spatial)
        constraints = self._solver.open((*rules, *map(Constraint, shape.sizes())))
        params = tuple(product(weight.sizes) for weight in weights)
        limits = [(shape.numel(), self._budget.largest_activation)]
        limits += [(size, self._budget.largest_weight) for size in params]
        volumes = self._solver.open_volumes(limits)
        return Bound(primitive, shape, constraints, next_variable, volumes, primitive.flops(shapes, shape), params)
