"""Element-wise functions: activations and simple arithmetic of one operand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import erf, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from canvas_rl.errors import GraphError
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import Size, constant

Apply = Callable[..., Array]


class Function(NamedTuple):
    """An element-wise function.

    Args:
        family: Canvas's name of it.
        code: PyTorch expression of `{t}`.
        reference: the same in numpy, each elementary operation through the first argument.
        flops: elementary operations an element.
        nonnegative: whether its values have no negative.
        not_after: functions right after which it does nothing new, itself included where it is idempotent or cancels.
        on_nonnegative: whether it does something to an operand without negatives.
        sign_blind: whether a sign change of its operand is lost or commutes, so that Neg right before is pointless.
    """

    family: str
    code: str
    reference: Callable[[Apply, Array], Array]
    flops: int
    nonnegative: bool = False
    not_after: tuple[str, ...] = ()
    on_nonnegative: bool = True
    sign_blind: bool = False


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
    "gelu": Function("GeLU", "F.gelu({t})", _gelu, 5, not_after=("gelu", "relu")),
    "relu": Function(
        "ReLU",
        "F.relu({t})",
        lambda apply, x: apply(np.maximum, x, 0.0),
        1,
        nonnegative=True,
        not_after=("relu",),
        on_nonnegative=False,
    ),
    "sigmoid": Function("Sigmoid", "torch.sigmoid({t})", _sigmoid, 4, nonnegative=True, not_after=("sigmoid",)),
    "tanh": Function("TanH", "torch.tanh({t})", _one(np.tanh), 1, not_after=("tanh",)),
    "abs": Function(
        "Abs",
        "{t}.abs()",
        _one(np.abs),
        1,
        nonnegative=True,
        not_after=("abs", "neg"),
        on_nonnegative=False,
        sign_blind=True,
    ),
    "exp": Function("Exp", "{t}.exp()", _one(np.exp), 1, nonnegative=True, not_after=("exp", "square")),
    "neg": Function("Neg", "-{t}", _one(np.negative), 1, not_after=("neg",)),
    "sin": Function("Sin", "torch.sin({t} * 1.5707963267948966)", _sin, 2, not_after=("sin",)),
    "sqrt": Function(
        "Sqrt",
        "({t}.abs() + 1e-12).sqrt()",
        _sqrt,
        3,
        nonnegative=True,
        not_after=("sqrt", "abs", "square"),
        sign_blind=True,
    ),
    "square": Function(
        "Sqr",
        "{t}.square()",
        _one(np.square),
        1,
        nonnegative=True,
        not_after=("square", "abs", "sqrt", "exp"),
        sign_blind=True,
    ),
}


@dataclass(frozen=True)
class Elementwise(Primitive):
    """One of `FUNCTIONS`, applied to each element."""

    function: str

    @property
    def family(self) -> str:  # type: ignore[override]
        return FUNCTIONS[self.function].family

    @property
    def nonnegative(self) -> bool:
        return FUNCTIONS[self.function].nonnegative

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        return Typed(inputs[0])

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(FUNCTIONS[self.function].flops) * out.numel(),)

    def pointless(self, producers: tuple[Primitive, ...]) -> str | None:
        before, function = producers[0], FUNCTIONS[self.function]
        if isinstance(before, Elementwise):
            if before.function in function.not_after:
                return f"{function.family} right after {before.family} does nothing new"
            if before.function == "neg" and function.sign_blind:
                return f"Neg right before {function.family} does nothing"
        if before.nonnegative and not function.on_nonnegative:
            return f"{function.family} does nothing to an operand without negative elements"
        return None

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
        raise GraphError(f"unknown element-wise function {data['function']!r}: expected one of {', '.join(FUNCTIONS)}")
    return Elementwise(data["function"])


FAMILY = Family((Elementwise,), _templates, _parse)
