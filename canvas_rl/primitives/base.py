"""What a primitive is: shape rule, cost, receptive field and emission, together in one class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

from canvas_rl.config import SearchOptions
from canvas_rl.errors import GraphError, shown
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import NOTHING, Facts
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import ONE, Size, parse, symbol


class Typed(NamedTuple):
    """What a shape rule gives: the output's shape and what must hold at every site."""

    shape: Shape
    constraints: tuple[Constraint, ...] = ()


class Weight(NamedTuple):
    """A learned tensor: its sizes, and how many of its entries add up to one output element."""

    sizes: tuple[Size, ...]
    fan_in: Size


@dataclass(frozen=True)
class Primitive(ABC):
    """One operation of the kernel language. Subclasses are frozen dataclasses and hold all that was decided.

    Attributes:
        family: the name by which filters and samplers know it (Canvas's primitive name).
        arity: number of operands.
        weighted: whether it has learned weights.
        takes_twice: whether it makes sense with one tensor as both operands.
        commutative: whether operands of equal shape may be exchanged.
    """

    family: ClassVar[str]
    arity: ClassVar[int] = 1
    weighted: ClassVar[bool] = False
    takes_twice: ClassVar[bool] = True

    @property
    def commutative(self) -> bool:
        return False

    @abstractmethod
    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        """The shape rule.

        Raises:
            GraphError: the primitive is not legal on these shapes; the message says why.
        """

    def equation(self, inputs: tuple[Shape, ...]) -> tuple[Size, Size] | None:
        """Two sizes that must be equal before `infer`; the solver may solve them for one free variable."""
        return None

    def weights(self, inputs: tuple[Shape, ...]) -> tuple[Weight, ...]:
        """Learned tensors."""
        return ()

    @abstractmethod
    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        """FLOPs of one sample as a sum of sizes: 2 per multiply-add, 1 per other elementary operation."""

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        """Receptive field of the output, given those of the operands."""
        return Field.union(*fields)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        """What is known of the output; depends on its template, the facts and which dims are present, on no size."""
        return NOTHING

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        """Why applying it to such operands makes no sense; None if it does. Depends on what `facts` depends on."""
        return None

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        """About the mean square of the output's elements at the start, given the operands'; weights make it 1."""
        return ONE if self.weighted else operands[-1]

    @abstractmethod
    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        """The result from the definition, in numpy and the operands' precision; shares nothing with `emit`.

        Args:
            values: the operands, [N, *dims]; for Input the kernel's input.
            weights: the learned tensors, in the order and with the sizes of `weights`.
            work: shapes and sizes, and the count of what is done.
        """

    @abstractmethod
    def emit(self, scope: Scope) -> None:
        """Write the PyTorch code."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for comments and pictures."""

    def substitute(self, values: Mapping[int, Size]) -> Self:
        """This primitive with free variables replaced."""
        changed = {}
        for name, old in vars(self).items():
            new = _substitute(old, values)
            if new != old:
                changed[name] = new
        return replace(self, **changed) if changed else self

    def to_json(self) -> dict[str, Any]:
        """Its class name and fields, JSON-ready."""
        return {"type": type(self).__name__, **{f.name: _to_json(getattr(self, f.name)) for f in fields(self)}}


def _substitute(value: Any, values: Mapping[int, Size]) -> Any:
    if isinstance(value, Size):
        return value.substitute(values)
    if type(value) is tuple:
        return tuple(_substitute(item, values) for item in value)
    return value


def _to_json(value: Any) -> Any:
    if isinstance(value, Size | Dim):
        return str(value)
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value


def json_sizes(values: Any) -> tuple[Size | None, ...]:
    """Sizes (None where absent) from their JSON form.

    Raises:
        FormatError: not a list of sizes.
    """
    return tuple(None if value is None else parse(value) for value in values)


def json_dims(values: Any) -> tuple[Dim, ...]:
    """Dim addresses from their JSON form such as `0.C`.

    Raises:
        GraphError: an address of another form.
    """
    return tuple(json_dim(value) for value in values)


def json_dim(value: Any) -> Dim:
    """A dim address from its JSON form such as `0.C`.

    Raises:
        GraphError: an address of another form.
    """
    group, _, slot = str(value).partition(".")
    if group not in ("0", "1") or slot not in ("G", "C", "KH", "KW", "H", "W"):
        raise GraphError(f"{shown(value)} is no dim: expected group and slot, such as '0.C' or '1.H'")
    return Dim(int(group), slot)


VIEWS = ("dims", "groups", "aligned")
"""At each dim; at groups as wholes; at the dims that `align` does not pair, as wholes."""

Build = Callable[[tuple[Shape, ...], "Fresh"], Primitive]


class Fresh:
    """Hands out free variables that are not in use yet, in order.

    Args:
        first: index of the first unused symbol.
    """

    def __init__(self, first: int) -> None:
        self.next = first

    def __call__(self) -> Size:
        self.next += 1
        return symbol(self.next - 1)


@dataclass(frozen=True)
class Template:
    """An action that applies a primitive whose open choices are made when it meets its operands.

    Args:
        name: the action's name in saved programs, such as `fc(C)`.
        family: the family of the primitives it makes.
        arity: number of operands.
        build: makes the primitive for operands of given shapes; raises GraphError where it can't be applied.
        order: which of (under, top) of the stack are the operands; unary templates take the top.
        view: how the shape rules of two operands look at them, one of `VIEWS`.
    """

    name: str
    family: str
    build: Build
    arity: int = 1
    order: tuple[int, ...] = (0,)
    weighted: bool = False
    view: str = "dims"


@dataclass(frozen=True)
class FamilyContext:
    """What a family needs to know to list its templates."""

    options: SearchOptions
    spatial_dims: int
    group_counts: tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """A family file's entry in the registry.

    Args:
        types: the primitive classes it defines.
        templates: lists its templates for a search space.
        parse: rebuilds one of its primitives from JSON fields.
        names: families of its templates, by which filters know them; none where those are the classes' names.
    """

    types: tuple[type[Primitive], ...]
    templates: Callable[[FamilyContext], Iterator[Template]]
    parse: Callable[[str, dict[str, Any]], Primitive]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", self.names or tuple(kind.__name__ for kind in self.types))


def require(condition: bool, reason: str, *details: object) -> None:
    """Raise a GraphError with `reason` unless `condition` holds; its `{}` are filled with `details` only then."""
    if not condition:
        raise GraphError(reason.format(*details) if details else reason)
