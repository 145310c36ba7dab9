"""Every action applied to operands it is legal on: what the page about the kernel language shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from canvas_rl.config import SearchOptions
from canvas_rl.errors import GraphError
from canvas_rl.primitives.base import Family, FamilyContext, Fresh, Primitive, Template, Typed
from canvas_rl.primitives.emission import Scope
from canvas_rl.symbolic.constraints import variable
from canvas_rl.symbolic.shape import CHANNEL, SPATIAL, Group, Shape, input_shape
from canvas_rl.symbolic.size import CHANNELS, FIRST_VARIABLE, HEIGHT, WIDTH, constant

SMALL = SearchOptions(kernel_sizes=(3,), dilated_sizes=(1,), shift_sizes=(1,))
"""Options with one window and one step, so that what differs in nothing else is shown once."""
GROUPS = (4,)
"""The group count of the examples."""
_IMAGE = input_shape(2)
_CHANNEL = Group(CHANNEL, (None, CHANNELS, None, None))
_WINDOW = Shape(Group(CHANNEL, (None, CHANNELS, constant(3), constant(3))), _IMAGE.second)
_GROUPED = Shape(Group(CHANNEL, (constant(4), CHANNELS / constant(4), None, None)), _IMAGE.second)
_COLUMN = Shape(_CHANNEL, Group(SPATIAL, (HEIGHT, None)))
_ROW = Shape(_CHANNEL, Group(SPATIAL, (None, WIDTH)))
_FLAT = Shape(_CHANNEL, Group(SPATIAL, (None, None)))
_SWAPPED = Shape(_IMAGE.second, _CHANNEL)
_ATTENTION = Shape(_CHANNEL, Group(CHANNEL, (None, variable(1), None, None)))
SHAPES = (_IMAGE, _WINDOW, _GROUPED, _COLUMN, _ROW, _FLAT, _SWAPPED, _ATTENTION)
"""The operands that are tried, the kernel's input first."""
_PAIRS = ((_FLAT, _IMAGE), (_IMAGE, _IMAGE), *product(SHAPES, repeat=2))
_PARTICULAR = re.compile(r"\[[^]]*\]|\b[01]\.[A-Z]+\b|(?<=contracts )\S+|(?<=with )\S+(?=:)")
"""Shapes, dims and sizes in the messages of shape rules."""


@dataclass(frozen=True)
class Example:
    """An action applied to operands.

    Attributes:
        template: the action.
        primitive: what it makes there.
        inputs: shapes of the operands, in the primitive's order.
        typed: shape of the result, and what must hold at every site.
    """

    template: Template
    primitive: Primitive
    inputs: tuple[Shape, ...]
    typed: Typed

    def code(self) -> tuple[list[str], list[str]]:
        """The PyTorch lines of a module's constructor, and those that compute `y` from `x` (or from `a` and `b`)."""
        args = ("x",) if len(self.inputs) == 1 else ("a", "b")
        scope = Scope(0, self.inputs, args, self.typed.shape, "y")
        self.primitive.emit(scope)
        return scope.init, scope.forward


def templates(family: Family, options: SearchOptions = SMALL, spatial_dims: int = 2) -> tuple[Template, ...]:
    """The actions of a family."""
    return tuple(family.templates(FamilyContext(options, spatial_dims, GROUPS)))


def examples(family: Family) -> Iterator[Example]:
    """Each action on the first operands that it is legal on; of unary ones those on the kernel's input, if any.

    Actions that take their two operands in the other order are left out.
    """
    ordered = [template for template in templates(family) if template.order == tuple(range(template.arity))]
    found = [example for template in ordered if (example := _first(template)) is not None]
    on_input = [example for example in found if example.inputs == (_IMAGE,)]
    yield from on_input or found


def reasons(family: Family) -> tuple[str, ...]:
    """What the family's shape rules say where an action is not legal, with the shapes left out."""
    said: dict[str, None] = {}
    for template in templates(family):
        for inputs in _operands(template):
            refused = _refusal(template, inputs)
            if refused:
                said[_PARTICULAR.sub("…", refused)] = None
    return tuple(said)


def _operands(template: Template) -> tuple[tuple[Shape, ...], ...]:
    return tuple((shape,) for shape in SHAPES) if template.arity == 1 else _PAIRS


def _refusal(template: Template, inputs: tuple[Shape, ...]) -> str:
    try:
        _apply(template, inputs)
    except GraphError as error:
        return str(error)
    return ""


def _first(template: Template) -> Example | None:
    legal = (inputs for inputs in _operands(template) if not _refusal(template, inputs))
    return next((_apply(template, inputs) for inputs in legal), None)


def _apply(template: Template, inputs: tuple[Shape, ...]) -> Example:
    """The example.

    Raises:
        GraphError: the action is not legal on these operands.
    """
    primitive = template.build(inputs, Fresh(FIRST_VARIABLE))
    return Example(template, primitive, inputs, primitive.infer(inputs))
