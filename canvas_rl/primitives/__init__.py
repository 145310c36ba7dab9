"""The primitives of the kernel language, one file a family.

A new family is one new file with a `FAMILY` and one line in `FAMILIES`; a program of yours may `register` it instead.
"""

import json
from typing import Any

from canvas_rl.errors import CanvasError, ConfigError, FormatError, shown
from canvas_rl.primitives import (
    arithmetic,
    bmm,
    conv,
    elementwise,
    fc,
    fold,
    group,
    io,
    mix,
    scale,
    shift,
    softmax,
    unfold,
)
from canvas_rl.primitives.base import VIEWS, Family, FamilyContext, Fresh, Primitive, Template, Typed, Weight

FAMILIES: list[Family] = [
    io.FAMILY,
    fc.FAMILY,
    conv.FAMILY,
    mix.FAMILY,
    scale.FAMILY,
    unfold.FAMILY,
    fold.FAMILY,
    group.FAMILY,
    shift.FAMILY,
    softmax.FAMILY,
    elementwise.FAMILY,
    arithmetic.FAMILY,
    bmm.FAMILY,
]

_BY_TYPE = {kind.__name__: family for family in FAMILIES for kind in family.types}
_OURS = len(FAMILIES)

__all__ = [
    "FAMILIES",
    "VIEWS",
    "Family",
    "FamilyContext",
    "Fresh",
    "Primitive",
    "Template",
    "Typed",
    "Weight",
    "primitive_from_json",
    "register",
    "registered",
]


def register(family: Family) -> None:
    """Add a family of your own to the kernel language of this process.

    Search spaces made before don't have it. `canvas_rl.search` evaluates kernels in processes of their own, for which
    it needs its line in `FAMILIES`.

    Raises:
        ConfigError: there is a primitive of that name already.
    """
    own = {*family.names, *(kind.__name__ for kind in family.types)}
    known = {name for other in FAMILIES for name in other.names}
    if taken := sorted(own & (known | _BY_TYPE.keys())):
        raise ConfigError(f"there is a primitive {taken[0]!r} already: give yours another name")
    FAMILIES.append(family)
    _BY_TYPE.update({kind.__name__: family for kind in family.types})


def registered() -> tuple[str, ...]:
    """Names of the primitives that this process has registered, as filters know them."""
    return tuple(name for family in FAMILIES[_OURS:] for name in family.names)


def primitive_from_json(data: dict[str, Any]) -> Primitive:
    """The primitive that `Primitive.to_json` wrote.

    Raises:
        FormatError: an unknown type, or fields that are missing or not written as `to_json` writes them.
        GraphError: a field has a value that the kernel language does not know.
    """
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _BY_TYPE:
        raise FormatError(f"unknown primitive {shown(kind)}: expected one of {', '.join(_BY_TYPE)}")
    try:
        primitive = _BY_TYPE[kind].parse(kind, data)
        written = primitive.to_json()
        exact = json.dumps(written) == json.dumps({name: data[name] for name in written})
    except CanvasError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"primitive {kind} has damaged fields {shown(data)}: {type(error).__name__}") from error
    if not exact:
        raise FormatError(f"primitive {kind} has fields of another form, {shown(data)}: expected {shown(written)}")
    return primitive
