"""Recipes: what the core knows of primitives, traced from their own rules.

The core plays programs without calling Python. When it meets operands of a new pattern (the kinds of their groups and
which dims are present), it asks a `Tracer`, which calls the primitives' rules once with symbols for the operands' dims:
sizes are monomials, so what comes out holds for all operands of that pattern. So a primitive's rules are written in one
place, its own file. There are many pairs of patterns; a template of two operands can say by its `view` that its rule
looks at groups, or at the dims that the operands do not share, as wholes: then one trace holds for many pairs.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from canvas_rl.errors import GraphError, InternalError
from canvas_rl.primitives import VIEWS, Fresh, Primitive, Template
from canvas_rl.primitives.facts import Facts
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.io import Input, output_for
from canvas_rl.primitives.receptive import Field
from canvas_rl.space.actions import ActionSet
from canvas_rl.space.recording import WIDTH, Numbered, Recording, in_order
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import CHANNEL, SLOTS, SPATIAL, Shape
from canvas_rl.symbolic.shape import Group as Dims
from canvas_rl.symbolic.size import FIRST_VARIABLE, Size, product, symbol

GROUP_SLOTS = 4
"""Slots of a group, of which a spatial one uses the first two."""
_OPERAND = 2 * GROUP_SLOTS
_FIRST_FRESH = FIRST_VARIABLE + 2 * _OPERAND
_MOST_FRESH = 8
_FIRST_GROUP = _FIRST_FRESH + _MOST_FRESH
_FIRST_MIDDLE = _FIRST_GROUP + 4

Monomial = Size
Rule = tuple[Monomial, int]
Operands = Sequence[int]
"""Patterns of the tensors under and on top, then the numbers of what is known of them; -1 for no tensor."""
Answer = tuple[int, list[int]]
"""What a rule says, and what it read for that, see `recording`."""


class Recipe(NamedTuple):
    """A template's effect on operands of one pattern.

    Sizes are monomials in the operands' dims (symbols from `FIRST_VARIABLE` on, eight for each operand), the free
    variables that the primitive introduces (the eight symbols after those) and wholes: the products of each operand's
    groups (four symbols), and of the dims of each operand that broadcasting does not share (two).

    Attributes:
        id: its number; `Tracer.primitive` has the traced primitive.
        rule: equal for recipes of one primitive in one order: what they say of facts and shapes is the same.
        action: the template's index.
        family: index of its family.
        weighted: whether it has learned weights.
        twin: whether two of it on the same operands make the same tensor.
        swapped: whether the operands are (top, under).
        group_count: the kernel's group count that it fixes, 0 for none.
        fresh: how many free variables it introduces.
        offset: what the receptive field grows and moves by.
        pattern: the result's kinds and dims, see `pattern_of`.
        dims: (slot, size) of the result's dims.
        copies: instead, for a view of wholes: which group (2 * operand + group) each of the result's is; else -1.
        constraints: (size, least).
        weights: elements of each learned tensor.
        flops: FLOPs of one sample, a sum.
        equation: two sizes that must be equal.
    """

    id: int
    rule: int
    action: int
    family: int
    weighted: bool
    twin: bool
    swapped: bool
    group_count: int
    fresh: int
    offset: Field
    pattern: int
    dims: list[tuple[int, Monomial]]
    copies: tuple[int, int]
    constraints: list[Rule]
    weights: list[Monomial]
    flops: list[Monomial]
    equation: tuple[Monomial, Monomial] | None


def pattern_of(shape: Shape) -> int:
    """The kinds of a shape's groups and which dims are present, as the core numbers them."""
    pattern = 0
    for group in shape:
        bits = sum(1 << slot for slot, size in enumerate(group.sizes) if size is not None)
        pattern = pattern << 5 | (group.kind == SPATIAL) << 4 | bits
    return pattern


def slots_of(shape: Shape) -> Iterator[tuple[int, Size]]:
    """(slot number, size) of the dims present; group 1 begins at `GROUP_SLOTS`."""
    for index, group in enumerate(shape):
        for slot, size in enumerate(group.sizes):
            if size is not None:
                yield index * GROUP_SLOTS + slot, size


@lru_cache(maxsize=1 << 11)
def generic_shape(pattern: int, operand: int) -> Shape:
    """The shape of a pattern whose dims are the symbols of an operand (0 or 1)."""
    groups = []
    for index, bits in enumerate((pattern >> 5, pattern & 31)):
        kind = SPATIAL if bits >> 4 else CHANNEL
        first = FIRST_VARIABLE + operand * _OPERAND + index * GROUP_SLOTS
        slots = range(len(SLOTS[kind]))
        groups.append(Dims(kind, tuple(symbol(first + slot) if bits >> slot & 1 else None for slot in slots)))
    return Shape(*groups)


def _aligned(first: Shape, second: Shape, prefix: int, suffix: int) -> Shape:
    """`second` with the sizes of `first` in the dims that they share at both ends."""
    ours, theirs = first.sizes(), second.dims()
    shared = [*range(prefix), *range(-suffix, 0)]
    for place in shared:
        second = second.with_dim(theirs[place], ours[place])
    return second


class Tracer:
    """Answers the core's questions about primitives.

    Args:
        actions: the action set.
        spatial_dims: of the sites.
    """

    def __init__(self, actions: ActionSet, spatial_dims: int) -> None:
        self._actions = actions
        self._input = Input(spatial_dims)
        self._traced: list[tuple[Primitive, tuple[Shape, ...], Template]] = []
        self._rules: dict[Hashable, int] = {}
        self._facts = Numbered()
        self._facts.number(self._input.facts((), ()))

    def unary(self, pattern: int) -> list[Recipe]:
        """The templates that apply to one operand of a pattern."""
        shapes = (generic_shape(pattern, 0),)
        return [recipe for action in self._actions.of_arity(1) if (recipe := self._trace(action, shapes))]

    def binary(self, view: int, under: int, top: int, prefix: int, suffix: int, same: bool) -> list[Recipe]:
        """The templates of a view that apply to two operands whose first `prefix` and last `suffix` dims are equal."""
        found = []
        for action in self._actions.of_arity(2):
            template = self._template(action)
            if VIEWS.index(template.view) != view:
                continue
            patterns = (under, top) if template.order == (0, 1) else (top, under)
            first = generic_shape(patterns[0], 0)
            second = _aligned(first, generic_shape(patterns[1], 1), prefix, suffix)
            recipe = self._trace(action, (first, second), same)
            if recipe is not None:
                wholes = _wholes(template.view, first, second, prefix, suffix)
                found.append(recipe if template.view == "dims" else _lifted(recipe, template, wholes))
        return found

    def values(self, facts: int) -> list[int]:
        """Numbers of what can be read of facts."""
        return self._facts.values(facts)

    def pointless(self, recipes: Sequence[int], operands: Operands) -> list[Answer]:
        """For each recipe whether it makes no sense on some operands."""
        recording, answers = self._recording(operands), []
        for recipe in recipes:
            primitive, _, template = self._traced[recipe]
            reason = recording.ask(primitive.pointless, template.order)
            answers.append((int(reason is not None), recording.reads()))
        return answers

    def reason(self, recipe: int, operands: Operands) -> str | None:
        """Why a recipe makes no sense on some operands, None if it does."""
        primitive, _, template = self._traced[recipe]
        return primitive.pointless(*in_order(self._operands(operands), template.order))

    def pointless_output(self, pattern: int, facts: int) -> Answer:
        """Whether a tensor of which these facts are known makes no sense as the kernel's result."""
        recording = self._recording((-1, pattern, -1, facts))
        reason = recording.ask(self._output(pattern).pointless, (0,))
        return int(reason is not None), recording.reads()

    def output_reason(self, pattern: int, facts: int) -> str | None:
        """Why a tensor makes no sense as the kernel's result, None if it does."""
        return self._output(pattern).pointless((self._facts[facts],), (generic_shape(pattern, 0),))

    def facts(self, recipe: int, operands: Operands) -> Answer:
        """The number of what is known of a recipe's result."""
        primitive, _, template = self._traced[recipe]
        recording = self._recording(operands)
        number = self._facts.number(recording.ask(primitive.facts, template.order))
        return number, recording.reads()

    def primitive(self, recipe: int, inputs: Sequence[Shape], fresh: Sequence[Size]) -> Primitive:
        """The traced primitive on operands (in its own order) and with free sizes that are known by now."""
        primitive, shapes, template = self._traced[recipe]
        if template.view != "dims":
            return primitive  # what looks at wholes holds no sizes
        values = {_FIRST_FRESH + index: size for index, size in enumerate(fresh)}
        for traced, actual in zip(shapes, inputs, strict=True):
            for (_, name), (_, size) in zip(slots_of(traced), slots_of(actual), strict=True):
                if len(name.exps) == 1:
                    values[name.exps[0][0]] = size
        return primitive.substitute(values)

    def ordered(self, recipe: int, under: int, top: int) -> tuple[int, ...]:
        """A recipe's operands, in its own order."""
        template = self._traced[recipe][2]
        return (top,) if template.arity == 1 else tuple((under, top)[place] for place in template.order)

    def _template(self, action: int) -> Template:
        template = self._actions.actions[action].template
        assert template is not None, "a push or an output has no recipe"
        return template

    def _operands(self, operands: Operands) -> tuple[list[Facts], list[Shape]]:
        """What is known of operands, under and top, and their generic shapes."""
        patterns, numbers = operands[:2], operands[2:]
        if numbers[0] < 0:
            patterns, numbers = patterns[1:], numbers[1:]
        return (
            [self._facts[number] for number in numbers],
            [generic_shape(pattern, index) for index, pattern in enumerate(patterns)],
        )

    def _recording(self, operands: Operands) -> Recording:
        known, shapes = self._operands(operands)
        return Recording(known, shapes, (2 - len(known)) * WIDTH)

    def _output(self, pattern: int) -> Primitive:
        return output_for(generic_shape(pattern, 0), self._input.spatial_dims)

    def _rule(self, primitive: Primitive, template: Template) -> int:
        """The number of what a primitive says of facts and shapes: another for all that it may depend on."""
        try:
            key = (type(primitive), tuple(vars(primitive).items()), template.order)
            return self._rules.setdefault(key, len(self._rules))
        except TypeError:  # it holds what can't be compared
            return self._rules.setdefault(object(), len(self._rules))

    def _trace(self, action: int, shapes: tuple[Shape, ...], same: bool = False) -> Recipe | None:
        template, fresh = self._template(action), Fresh(_FIRST_FRESH)
        try:
            primitive = template.build(shapes, fresh)
            if same and not primitive.takes_twice:
                return None
            equation = primitive.equation(shapes)
            if equation is not None and equation[0] is not equation[1]:
                shapes = _made_equal(shapes, *equation)
            shape, rules = primitive.infer(shapes)
        except GraphError:
            return None
        self._traced.append((primitive, shapes, template))
        weights = primitive.weights(shapes)
        given = {size for operand in shapes for size in operand.sizes()}
        return Recipe(
            id=len(self._traced) - 1,
            rule=self._rule(primitive, template),
            action=action,
            family=int(self._actions.family_of[action]),
            weighted=primitive.weighted,
            twin=not primitive.weighted and fresh.next == _FIRST_FRESH,
            swapped=template.order == (1, 0),
            group_count=(primitive.count or 0) if isinstance(primitive, Group) else 0,
            fresh=fresh.next - _FIRST_FRESH,
            offset=primitive.receptive((Field(),) * template.arity, shapes),
            pattern=pattern_of(shape),
            dims=list(slots_of(shape)),
            copies=_copies(shape, shapes) if template.view != "dims" else (-1, -1),
            constraints=_open((*rules, *(Constraint(size) for size in shape.sizes() if size not in given))),
            weights=[product(weight.sizes) for weight in weights],
            flops=list(primitive.flops(shapes, shape)),
            equation=equation,
        )


def _copies(shape: Shape, shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Which group of the operands each group of the result is, -1 for none."""
    groups = [group for shape in shapes for group in shape]

    def source(place: int, group: Dims) -> int:
        nearest = (2 + place, 3 - place, place, 1 - place)
        return next((index for index in nearest if groups[index] == group), -1)

    return source(0, shape.first), source(1, shape.second)


Wholes = list[tuple[frozenset[int], Size]]


def _wholes(view: str, first: Shape, second: Shape, prefix: int, suffix: int) -> Wholes:
    """The symbols that a view takes together, and the size that is their product."""
    shapes = (first, second)
    if view == "groups":
        groups = [group for shape in shapes for group in shape]
        return [(_symbols(group.present()), symbol(_FIRST_GROUP + place)) for place, group in enumerate(groups)]
    wholes = []
    for index, shape in enumerate(shapes):
        everything = symbol(_FIRST_GROUP + 2 * index) * symbol(_FIRST_GROUP + 2 * index + 1)
        wholes.append((_symbols(shape.sizes()), everything))
    for index, shape in enumerate(shapes):
        middle = shape.sizes()[prefix : len(shape.sizes()) - suffix]
        wholes.append((_symbols(middle), symbol(_FIRST_MIDDLE + index)))
    return wholes


def _symbols(sizes: Sequence[Size]) -> frozenset[int]:
    return frozenset(index for size in sizes for index, _ in size.exps)


def _lifted(recipe: Recipe, template: Template, wholes: Wholes) -> Recipe:
    """A recipe in terms of wholes."""

    def lift(size: Size) -> Size:
        for symbols, whole in wholes:
            powers = {size.exponent(index) for index in symbols}
            if len(powers) == 1 and (power := powers.pop()):
                for _ in range(abs(power)):
                    parts = product(tuple(symbol(index) for index in symbols))
                    size = size / parts * whole if power > 0 else size * parts / whole
        if any(FIRST_VARIABLE <= index < _FIRST_FRESH for index, _ in size.exps):
            raise InternalError(f"{template.name} looks at single dims: its view is not {template.view!r}")
        return size

    if min(recipe.copies) < 0:
        raise InternalError(f"{template.name} makes new dims: its view is not {template.view!r}")
    return recipe._replace(
        dims=[],
        constraints=[(lift(size), least) for size, least in recipe.constraints],
        weights=[lift(size) for size in recipe.weights],
        flops=[lift(size) for size in recipe.flops],
        equation=recipe.equation and (lift(recipe.equation[0]), lift(recipe.equation[1])),
    )


def _open(rules: Sequence[Constraint]) -> list[Rule]:
    return list(dict.fromkeys((rule.size, rule.least) for rule in rules))


def _made_equal(shapes: tuple[Shape, ...], left: Size, right: Size) -> tuple[Shape, ...]:
    """The shapes with one dim replaced so that two sizes are equal.

    Raises:
        GraphError: no dim occurs linearly in them.
    """
    ratio = left / right
    for index, exp in ratio.exps:
        if index >= FIRST_VARIABLE and abs(exp) == 1:
            rest = ratio / symbol(index) if exp == 1 else ratio * symbol(index)
            value = {index: rest.inverse() if exp == 1 else rest}
            return tuple(shape.substitute(value) for shape in shapes)
    raise GraphError(f"{left} can't be made equal to {right}")


def shape_of(spatial: tuple[bool, bool], sizes: Sequence[Size | None]) -> Shape:
    """A shape from the kinds of its groups and the sizes of its eight slots, as the core gives them."""
    first, second = (
        Dims(SPATIAL, tuple(sizes[at : at + 2])) if kind else Dims(CHANNEL, tuple(sizes[at : at + GROUP_SLOTS]))
        for kind, at in zip(spatial, (0, GROUP_SLOTS), strict=True)
    )
    return Shape(first, second)
