"""Element-wise functions: activations and simple arithmetic of one operand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import erf, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from canvas_rl.errors import GraphError, shown
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import MOST_GROWTH, NO_DIMS, Facts, Reason
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import ONE, Size, constant

Apply = Callable[..., Array]


class Function(NamedTuple):
    """An element-wise function.

    Args:
        family: Canvas's name of it.
        code: PyTorch expression of `{t}`.
        reference: the same in numpy, each elementary operation through the first argument.
        flops: elementary operations an element.
        sign: 1 if no value is negative, 0 if unknown, None if it is that of the operand.
        bounded: whether its values are.
    """

    family: str
    code: str
    reference: Callable[[Apply, Array], Array]
    flops: int
    sign: int | None = 1
    bounded: bool = False


def _erf(x: Array) -> Array:
    result: Array = np.vectorize(erf, otypes=[float])(x).astype(x.dtype)
    return result


def _gelu(apply: Apply, x: Array) -> Array:
    bell = apply(np.add, 1.0, apply(_erf, apply(np.divide, x, sqrt(2))))
    return apply(np.multiply, apply(np.multiply, x, 0.5), bell)


def _sigmoid(apply: Apply, x: Array) -> Array:
    return apply(np.divide, 1.0, apply(np.add, 1.0, apply(np.exp, apply(np.negative, x))))


def _sin(apply: Apply, x: Array) -> Array:
    return apply(np.sin, apply(np.multiply, x, pi / 2))


def _sqrt(apply: Apply, x: Array) -> Array:
    return apply(np.sqrt, apply(np.add, apply(np.abs, x), 1e-12))


def _one(function: np.ufunc) -> Callable[[Apply, Array], Array]:
    return lambda apply, x: apply(function, x)


FUNCTIONS = {
    "gelu": Function("GeLU", "F.gelu({t})", _gelu, 5, sign=None),
    "relu": Function("ReLU", "F.relu({t})", lambda apply, x: apply(np.maximum, x, 0.0), 1),
    "sigmoid": Function("Sigmoid", "torch.sigmoid({t})", _sigmoid, 4, bounded=True),
    "tanh": Function("TanH", "torch.tanh({t})", _one(np.tanh), 1, sign=None, bounded=True),
    "abs": Function("Abs", "{t}.abs()", _one(np.abs), 1),
    "exp": Function("Exp", "{t}.exp()", _one(np.exp), 1),
    "neg": Function("Neg", "-{t}", _one(np.negative), 1),
    "sin": Function("Sin", "torch.sin({t} * 1.5707963267948966)", _sin, 2, sign=0, bounded=True),
    "sqrt": Function("Sqrt", "({t}.abs() + 1e-12).sqrt()", _sqrt, 3),
    "square": Function("Sqr", "{t}.square()", _one(np.square), 1),
}
_REMEMBERED = dict.fromkeys(("relu", "sigmoid", "tanh", "exp"), "increasing") | {
    n: n for n in ("abs", "sqrt", "square")
}
_SIGN_BLIND = ("abs", "sqrt", "square")
_INCREASING = ("sigmoid", "tanh", "exp")
ODD = ("tanh", "sin")
_SMOOTH = ("gelu", "sigmoid", "tanh", "exp", "sin")


def _negative(known: Facts) -> Facts:
    return replace(
        known,
        sign=-known.sign,
        lean=known.lean if known.lean == 2 else -known.lean,
        unit=min(known.unit, 0),
        function="",
        clipped=-known.clipped,
        negated=not known.negated,
        folded=None,
    )


def _sign(function: str, known: Facts) -> int:
    """The sign of a function's values."""
    if function == "sin":
        return known.sign if known.unit < 0 else 0
    sign = FUNCTIONS[function].sign
    return known.sign if sign is None else sign


def _unit(function: str, known: Facts) -> int:
    """Which side of 1 a function's values are on."""
    if FUNCTIONS[function].bounded or (function == "exp" and known.sign < 0):
        return -1
    if function == "exp":
        return known.sign
    return 0 if function in ("gelu", "sqrt") and known.unit > 0 else known.unit


def _steady(function: str, known: Facts) -> bool:
    """Whether the values of a function have one sign and a narrow range."""
    if function in ("exp", "sigmoid"):
        return known.steady or known.flat or (known.unit < 0 and (known.sign != 0 or function == "sigmoid"))
    return known.steady and function in ("tanh", "sqrt", "abs")


def _kurtosis(known: Facts) -> int:
    """About how large the mean fourth power is against the mean square squared."""
    if known.small:
        return 16
    if known.growth:
        return 12
    return 1 if known.unit < 0 and known.leaning else 3


def _growth(function: str, known: Facts) -> int:
    """How fast the values of a function grow."""
    if known.flat or FUNCTIONS[function].bounded:
        return 0
    if function == "square":
        return min(known.growth + 1, MOST_GROWTH)
    if function == "exp":
        return 0 if known.sign < 0 else 2
    return known.growth - 1 if function == "sqrt" and known.growth in (1, 3) else known.growth


@dataclass(frozen=True)
class Elementwise(Primitive):
    """One of `FUNCTIONS`, applied to each element."""

    function: str

    @property
    def family(self) -> str:  # type: ignore[override]
        return FUNCTIONS[self.function].family

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        return Typed(inputs[0])

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(FUNCTIONS[self.function].flops) * out.numel(),)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, name = operands[0], self.function
        if name == "neg":
            return _negative(known)
        return Facts(
            sign=_sign(name, known),
            lean=known.leaning if name == "sin" and not known.growth else known.lean if name in ("gelu", "tanh") else 0,
            unit=_unit(name, known),
            function=_REMEMBERED.get(name, ""),
            growth=_growth(name, known),
            small=known.small and name not in ("exp", "sigmoid"),
            flat=known.flat,
            steady=_steady(name, known),
            clipped=-1 if name == "relu" else known.clipped if name in _INCREASING or known.sign > 0 else 0,
            negated=known.negated and name in ODD,
            signed=known.signed and name in ODD,
            normalised=known.normalised if known.flat and name in _SMOOTH else NO_DIMS,
            wide=known.wide,
            regrouped=known.regrouped,
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known = operands[0]
        if self.function in ("relu", "abs") and known.sign > 0:
            return Reason.NOTHING_TO_CLIP
        if self.function == "relu" and known.sign < 0:
            return Reason.ALL_CLIPPED
        if self.function in ("relu", "abs") and known.lean and not known.sign:
            return Reason.ONE_SIGN
        if self.function == "exp" and known.growth and known.sign >= 0:
            return Reason.OVERFLOW
        if self.function == "neg":
            return self._negation(known)
        if self.function in _SIGN_BLIND and known.negated:
            return Reason.SIGN_LOST
        if self.function in _SIGN_BLIND and known.function == "abs":
            return Reason.ABS_INSIDE
        return Reason.ROOT_OF_SQUARE if {self.function, known.function} == {"sqrt", "square"} else None

    @staticmethod
    def _negation(known: Facts) -> str | None:
        if known.negated:
            return Reason.SIGN_UNDONE
        return Reason.SIGN_BEFORE if known.signed else None

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        square, known = operands[0], facts[0]
        if self.function == "square":
            return square * square * constant(_kurtosis(known))
        if self.function == "exp":
            return Size.of(1, 4, ()) if known.sign < 0 else constant(1 if known.small else 8)
        if self.function == "sigmoid":
            return Size.of(1, 4, ())
        if self.function == "sqrt":
            return square.root() or square
        return ONE if FUNCTIONS[self.function].bounded and known.growth else square

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        return FUNCTIONS[self.function].reference(work.apply, values[0])

    def emit(self, scope: Scope) -> None:
        scope.assign(FUNCTIONS[self.function].code.format(t=scope.args[0]))

    def describe(self) -> str:
        return FUNCTIONS[self.function].family


def _build(name: str, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Elementwise(name)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for name, function in FUNCTIONS.items():
        yield Template(name, function.family, partial(_build, name))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    if data["function"] not in FUNCTIONS:
        name = shown(data["function"])
        raise GraphError(f"unknown element-wise function {name}: expected one of {', '.join(FUNCTIONS)}")
    return Elementwise(data["function"])


FAMILY = Family((Elementwise,), _templates, _parse, tuple(item.family for item in FUNCTIONS.values()))
