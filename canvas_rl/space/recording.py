"""Stand-ins for operands that note what of them a rule reads.

A rule is deterministic, so the values that it read, in order, settle what it says: the core keeps what rules said as
decision trees over those values, and asks a rule only where its reads end at a value not met before.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from canvas_rl.errors import InternalError
from canvas_rl.primitives.facts import Facts
from canvas_rl.symbolic.shape import Shape

FIELDS = tuple(field.name for field in fields(Facts))
WHOLE, SHAPE = (len(FIELDS), len(FIELDS) + 1), len(FIELDS) + 2
WIDTH = len(FIELDS) + 3
"""What can be read of an operand: each field of its facts, the facts as a whole (their number's bytes), its shape."""
_MOST_FACTS = 1 << 16

Reads = dict[int, None]
"""What was read, in order: `WIDTH` places for each operand."""
Result = TypeVar("Result")
Operands = tuple[tuple[Facts, ...], tuple[Shape, ...]]
Rule = Callable[[tuple[Facts, ...], tuple[Shape, ...]], Result]


class Numbered:
    """Facts and the values of their fields, numbered as they come."""

    def __init__(self) -> None:
        self._facts: list[Facts] = []
        self._numbers: dict[Facts, int] = {}
        self._values: tuple[dict[Hashable, tuple[int, Any]], ...] = tuple({} for _ in FIELDS)

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, number: int) -> Facts:
        return self._facts[number]

    def number(self, facts: Facts) -> int:
        """The number of facts.

        Raises:
            InternalError: there are too many.
        """
        known = self._numbers.get(facts)
        if known is not None:
            return known
        if len(self._facts) >= _MOST_FACTS:
            raise InternalError("more different facts of tensors than the solver can number")
        # equal values become one object: what a rule reads next may depend on the order in which a set is listed
        facts = replace(facts, **{name: self._value(place, facts)[1] for place, name in enumerate(FIELDS)})
        self._numbers[facts] = len(self._facts)
        self._facts.append(facts)
        return len(self._facts) - 1

    def values(self, number: int) -> list[int]:
        """What can be read of facts: the numbers of the values of the fields, and the bytes of their own."""
        return [*(self._value(place, self._facts[number])[0] for place in range(len(FIELDS))), *divmod(number, 256)]

    def _value(self, place: int, facts: Facts) -> tuple[int, Any]:
        values, value = self._values[place], getattr(facts, FIELDS[place])
        return values.setdefault(value, (len(values), value))


class Recorded(Facts):
    """Facts that note what of them is read.

    Properties of facts read their fields, which is noted; whatever else is asked of them counts as reading the whole.

    Args:
        known: the facts.
        reads: where to note.
        first: the place of their first field.
    """

    __slots__ = ("_first", "_known", "_reads")
    _first: int
    _known: Facts
    _reads: Reads

    def __init__(self, known: Facts, reads: Reads, first: int) -> None:
        for name, value in (("_known", known), ("_reads", reads), ("_first", first)):
            object.__setattr__(self, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Facts]:  # type: ignore[override]
        return type(self._known)  # so that `replace` makes plain facts

    def __eq__(self, other: object) -> bool:
        return self._whole() == (other._whole() if type(other) is Recorded else other)

    def __hash__(self) -> int:
        return hash(self._whole())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole(), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._whole().__reduce_ex__(protocol)

    def _whole(self) -> Facts:
        self._reads.update((self._first + place, None) for place in WHOLE)
        return self._known


def _reading(place: int, name: str) -> property:
    def read(self: Recorded) -> Any:
        self._reads[self._first + place] = None
        return getattr(self._known, name)

    return property(read)


for _place, _name in enumerate(FIELDS):
    setattr(Recorded, _name, _reading(_place, _name))


@Sequence.register
class RecordedShape:
    """A shape that notes whether anything of it is read.

    Args:
        shape: the shape.
        reads: where to note.
        place: its place there.
    """

    __slots__ = ("_place", "_reads", "_shape")

    def __init__(self, shape: Shape, reads: Reads, place: int) -> None:
        self._shape, self._reads, self._place = shape, reads, place

    @property  # type: ignore[misc]
    def __class__(self) -> type[Shape]:  # type: ignore[override]
        return Shape

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole(), name)

    def __getitem__(self, index: Any) -> Any:
        return self._whole()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __eq__(self, other: object) -> bool:
        return self._whole() == (other._whole() if type(other) is RecordedShape else other)

    def __hash__(self) -> int:
        return hash(self._whole())

    def __str__(self) -> str:
        return str(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())

    def _whole(self) -> Shape:
        self._reads[self._place] = None
        return self._shape


class Recording:
    """The operands of rules, and what these read of them.

    Args:
        known: what is known of each operand.
        shapes: their shapes.
        first: the place of what can be read of the first.
    """

    def __init__(self, known: Sequence[Facts], shapes: Sequence[Shape], first: int) -> None:
        self._plain: Operands = tuple(known), tuple(shapes)
        self._reads: Reads = {}
        self._places = [first + WIDTH * index for index in range(len(known))]
        self._facts = [Recorded(facts, self._reads, at) for facts, at in zip(known, self._places, strict=True)]
        self._shapes: list[Any] = [
            RecordedShape(shape, self._reads, at + SHAPE) for shape, at in zip(shapes, self._places, strict=True)
        ]
        self._ordered: dict[tuple[int, ...], Operands] = {}

    def ask(self, rule: Rule[Result], order: tuple[int, ...]) -> Result:
        """What a rule says of the operands in some order; afterwards `reads` has what it read."""
        self._reads.clear()
        operands = self._ordered.get(order)
        if operands is None:
            operands = self._ordered[order] = in_order((self._facts, self._shapes), order)
        try:
            return rule(*operands)
        except Exception:  # a stand-in can't do all that a shape can
            self._reads.update((at + part, None) for at in self._places for part in (*WHOLE, SHAPE))
            return rule(*in_order(self._plain, order))

    def reads(self) -> list[int]:
        """What the last rule read, in order."""
        return list(self._reads)


def in_order(operands: tuple[Sequence[Facts], Sequence[Shape]], order: Sequence[int]) -> Operands:
    """A rule's operands in its own order."""
    known, shapes = operands
    return tuple(known[at] for at in order), tuple(shapes[at] for at in order)
