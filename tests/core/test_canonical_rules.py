"""Every rule that masks a primitive as pointless, proved: what it masks equals something simpler, in float64."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from tensors import Tensor, apply, given, refusal

from canvas_rl.primitives import Primitive
from canvas_rl.primitives.arithmetic import Arithmetic, align
from canvas_rl.primitives.bmm import BMM
from canvas_rl.primitives.conv import Convolution
from canvas_rl.primitives.elementwise import Elementwise
from canvas_rl.primitives.facts import Reason
from canvas_rl.primitives.fc import FC
from canvas_rl.primitives.fold import Fold
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.io import output_for
from canvas_rl.primitives.mix import Mix
from canvas_rl.primitives.reference import Array
from canvas_rl.primitives.scale import Scale
from canvas_rl.primitives.shift import Shift
from canvas_rl.primitives.softmax import Softmax
from canvas_rl.primitives.unfold import Unfold
from canvas_rl.symbolic.shape import Dim
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import CHANNELS, constant

SITE = Site(4, 6, 5)
C, G, KH, H, W = Dim(0, "C"), Dim(0, "G"), Dim(0, "KH"), Dim(1, "H"), Dim(1, "W")
NEG, ABS, SQUARE, SQRT, RELU, TANH, EXP = map(Elementwise, ("neg", "abs", "square", "sqrt", "relu", "tanh", "exp"))
FULL, TWO = FC(CHANNELS), FC(constant(2))
CONV, DEPTHWISE = Convolution(CHANNELS, 3, 3, 1, False), Convolution(CHANNELS, 3, 3, 1, True)
PAIRS = Group(0, constant(2))
SCALE_C, SCALE_H, SCALE_CH = Scale((C,)), Scale((H,)), Scale((C, H))
MIX_H, DROP_H, DROP_C = Mix((H,), (constant(3),)), Mix((H,), (None,)), Mix((C,), (None,))
RNG = np.random.default_rng(7)
SQUARE_W, OTHER_W = RNG.standard_normal((4, 4)), RNG.standard_normal((4, 4))
NARROW_W, GROUPED_W = RNG.standard_normal((2, 4)), RNG.standard_normal((4, 2))
CONV_W, DEPTH_W = RNG.standard_normal((4, 4, 3, 3)), RNG.standard_normal((4, 1, 3, 3))
C_W, H_W, CH_W, MIX_W = (RNG.standard_normal(s) for s in ((4,), (6,), (4, 6), (3, 6)))


class Masked(NamedTuple):
    """A primitive that is refused, its operands and its weight."""

    primitive: Primitive
    operands: tuple[Tensor, ...]
    weight: Array | None = None


def on(primitive: Primitive, *operands: Tensor, weight: Array | None = None) -> Masked:
    return Masked(primitive, operands, weight)


def joining(operation: str, left: Tensor, right: Tensor) -> Masked:
    return Masked(Arithmetic(operation, *align(left.shape, right.shape)), (left, right))


def avg(*dims: Dim) -> Fold:
    return Fold(dims, "avg")


def top(*dims: Dim) -> Fold:
    return Fold(dims, "max")


def shift(step: int, *dims: Dim) -> Shift:
    return Shift(dims, step)


def block(weight: Array) -> Array:
    """The dense matrix of a weight of two groups."""
    return np.block([[weight[:2], np.zeros((2, 2))], [np.zeros((2, 2)), weight[2:]]])


X = given(SITE)
Y = given(SITE, seed=1)
"""Another input: equal results for both don't depend on the input."""
THROUGH_FC = X.weighted(FULL, SQUARE_W)

Proof = tuple[Reason, Callable[[], Masked], Callable[[], Tensor]]
PROOFS: dict[str, Proof] = {
    # signs
    "relu of a square": (Reason.NOTHING_TO_CLIP, lambda: on(RELU, X.then(SQUARE)), lambda: X.then(SQUARE)),
    "abs of an average of exponentials": (
        Reason.NOTHING_TO_CLIP,
        lambda: on(ABS, X.then(EXP, avg(H))),
        lambda: X.then(EXP, avg(H)),
    ),
    "relu of a sine of what is between 0 and 1": (
        Reason.NOTHING_TO_CLIP,
        lambda: on(RELU, X.then(Softmax(C), Elementwise("sin"))),
        lambda: X.then(Softmax(C), Elementwise("sin")),
    ),
    "relu of a sum": (
        Reason.NOTHING_TO_CLIP,
        lambda: on(RELU, X.then(EXP).joined("add", X.then(SQUARE))),
        lambda: X.then(EXP).joined("add", X.then(SQUARE)),
    ),
    "relu of a negative": (
        Reason.ALL_CLIPPED,
        lambda: on(RELU, X.then(SQUARE, NEG)),
        lambda: X.then(RELU, NEG, RELU),
    ),
    "neg of neg": (Reason.SIGN_UNDONE, lambda: on(NEG, X.then(NEG)), lambda: X),
    "neg of neg, with odd and linear between": (
        Reason.SIGN_UNDONE,
        lambda: on(NEG, X.then(NEG, TANH, shift(1, C), avg(H))),
        lambda: X.then(TANH, shift(1, C), avg(H)),
    ),
    "square of neg": (Reason.SIGN_LOST, lambda: on(SQUARE, X.then(NEG)), lambda: X.then(SQUARE)),
    "sqrt of neg": (Reason.SIGN_LOST, lambda: on(SQRT, X.then(NEG, avg(H))), lambda: X.then(avg(H), SQRT)),
    "fc of neg": (
        Reason.SIGN_IN_WEIGHT,
        lambda: on(FULL, X.then(NEG), weight=SQUARE_W),
        lambda: X.weighted(FULL, -SQUARE_W),
    ),
    "conv of neg": (
        Reason.SIGN_IN_WEIGHT,
        lambda: on(CONV, X.then(NEG), weight=CONV_W),
        lambda: X.weighted(CONV, -CONV_W),
    ),
    "depthwise conv of neg": (
        Reason.SIGN_IN_WEIGHT,
        lambda: on(DEPTHWISE, X.then(NEG), weight=DEPTH_W),
        lambda: X.weighted(DEPTHWISE, -DEPTH_W),
    ),
    "mix of neg": (
        Reason.SIGN_IN_WEIGHT,
        lambda: on(MIX_H, X.then(NEG, shift(1, C)), weight=MIX_W),
        lambda: X.then(shift(1, C)).weighted(MIX_H, -MIX_W),
    ),
    "scale of neg": (
        Reason.SIGN_IN_WEIGHT,
        lambda: on(SCALE_C, X.then(NEG), weight=C_W),
        lambda: X.weighted(SCALE_C, -C_W),
    ),
    "neg of fc": (Reason.SIGN_BEFORE, lambda: on(NEG, THROUGH_FC), lambda: X.weighted(FULL, -SQUARE_W)),
    "neg of tanh of mix": (
        Reason.SIGN_BEFORE,
        lambda: on(NEG, X.weighted(MIX_H, MIX_W).then(TANH, avg(C))),
        lambda: X.weighted(MIX_H, -MIX_W).then(TANH, avg(C)),
    ),
    "neg of a product with fc": (
        Reason.SIGN_BEFORE,
        lambda: on(NEG, apply(BMM(1, 1, False), THROUGH_FC, X)),
        lambda: apply(BMM(1, 1, False), X.weighted(FULL, -SQUARE_W), X),
    ),
    "sum with neg": (
        Reason.NEG_OPERAND,
        lambda: joining("add", X.then(SQUARE), X.then(NEG)),
        lambda: X.then(SQUARE).joined("sub", X),
    ),
    "sum of neg": (
        Reason.NEG_OPERAND,
        lambda: joining("add", X.then(avg(C), NEG), X),
        lambda: X.then(avg(C)).joined("sub", X).then(NEG),
    ),
    "difference with neg": (
        Reason.NEG_OPERAND,
        lambda: joining("sub", X.then(SQUARE), X.then(NEG)),
        lambda: X.then(SQUARE).joined("add", X),
    ),
    "maximum of two neg": (
        Reason.NEG_OPERAND,
        lambda: joining("max", X.then(avg(C), NEG), X.then(NEG)),
        lambda: X.then(avg(C)).joined("min", X).then(NEG),
    ),
    "maximum of opposite signs": (
        Reason.ONE_SIDE,
        lambda: joining("max", X.then(SQUARE), X.then(EXP, NEG)),
        lambda: X.then(SQUARE),
    ),
    "maximum of at least 1 and at most 1": (
        Reason.ONE_SIDE,
        lambda: joining("max", X.then(RELU, EXP), X.then(TANH)),
        lambda: X.then(RELU, EXP),
    ),
    "minimum of opposite signs": (
        Reason.ONE_SIDE,
        lambda: joining("min", X.then(SQUARE), X.then(EXP, NEG)),
        lambda: X.then(EXP, NEG),
    ),
    # functions
    "square of abs": (Reason.ABS_INSIDE, lambda: on(SQUARE, X.then(ABS)), lambda: X.then(SQUARE)),
    "sqrt of abs": (Reason.ABS_INSIDE, lambda: on(SQRT, X.then(ABS)), lambda: X.then(SQRT)),
    "sqrt of square": (Reason.ROOT_OF_SQUARE, lambda: on(SQRT, X.then(SQUARE)), lambda: X.then(ABS)),
    "square of sqrt": (Reason.ROOT_OF_SQUARE, lambda: on(SQUARE, X.then(SQRT)), lambda: X.then(ABS)),
    **{
        f"maximum of {name}": (
            Reason.FOLD_FIRST,
            lambda name=name: on(top(H), X.then(Elementwise(name))),
            lambda name=name: X.then(top(H), Elementwise(name)),
        )
        for name in ("relu", "sigmoid", "tanh", "exp")
    },
    # folds, shifts, groups
    "average over H, then W": (Reason.FOLD_PAIR, lambda: on(avg(W), X.then(avg(H))), lambda: X.then(avg(H, W))),
    "maximum over W, then H": (Reason.FOLD_PAIR, lambda: on(top(H), X.then(top(W))), lambda: X.then(top(H, W))),
    "average of softmax": (
        Reason.ADDS_UP,
        lambda: on(avg(H), X.then(Softmax(H), shift(1, C))),
        lambda: Y.then(Softmax(H), avg(H)),
    ),
    "average of grouped softmax": (
        Reason.ADDS_UP,
        lambda: on(avg(G), X.then(Softmax(C), PAIRS, avg(C), NEG)),
        lambda: Y.then(Softmax(C), PAIRS, avg(C), avg(G), NEG),
    ),
    "average of unfolded softmax": (
        Reason.ADDS_UP,
        lambda: on(avg(C), X.then(Softmax(C), Unfold("H", 3, 1))),
        lambda: Y.then(Softmax(C), Unfold("H", 3, 1), avg(C)),
    ),
    "average of fc of softmax": (
        Reason.ADDS_UP,
        lambda: on(avg(H), X.then(Softmax(H)).weighted(FULL, SQUARE_W)),
        lambda: Y.then(Softmax(H)).weighted(FULL, SQUARE_W).then(avg(H)),
    ),
    "average of softmax of a product": (
        Reason.ADDS_UP,
        lambda: on(Fold((Dim(1, "H"), Dim(1, "W")), "avg"), apply(BMM(0, 0, True), X, X)),
        lambda: apply(BMM(0, 0, True), Y, Y).then(Fold((Dim(1, "H"), Dim(1, "W")), "avg")),
    ),
    "two shifts": (Reason.ROLLED_ALREADY, lambda: on(shift(1, H), X.then(shift(1, H))), lambda: X.then(shift(2, H))),
    "two shifts, another between": (
        Reason.ROLLED_ALREADY,
        lambda: on(shift(-1, H), X.then(shift(1, H), shift(1, W))),
        lambda: X.then(shift(1, W)),
    ),
    "shift of a pair after a shift": (
        Reason.ROLLED_ALREADY,
        lambda: on(shift(1, H, W), X.then(shift(1, H))),
        lambda: X.then(shift(2, H), shift(1, W)),
    ),
    "fc of a shift": (
        Reason.ROLL_IN_WEIGHT,
        lambda: on(FULL, X.then(shift(1, C)), weight=SQUARE_W),
        lambda: X.weighted(FULL, np.roll(SQUARE_W, -1, axis=1)),
    ),
    "conv of a shift": (
        Reason.ROLL_IN_WEIGHT,
        lambda: on(CONV, X.then(shift(1, C)), weight=CONV_W),
        lambda: X.weighted(CONV, np.roll(CONV_W, -1, axis=1)),
    ),
    "mix of a shift": (
        Reason.ROLL_IN_WEIGHT,
        lambda: on(MIX_H, X.then(shift(-2, H)), weight=MIX_W),
        lambda: X.weighted(MIX_H, np.roll(MIX_W, 2, axis=1)),
    ),
    "grouped fc of a shift in each group": (
        Reason.ROLL_IN_WEIGHT,
        lambda: on(FULL, X.then(PAIRS, shift(1, C)), weight=GROUPED_W),
        lambda: X.then(PAIRS).weighted(FULL, np.roll(GROUPED_W, -1, axis=1)),
    ),
    "shift of fc": (
        Reason.ROLL_BEFORE,
        lambda: on(shift(1, C), THROUGH_FC),
        lambda: X.weighted(FULL, np.roll(SQUARE_W, 1, axis=0)),
    ),
    "shift of mix": (
        Reason.ROLL_BEFORE,
        lambda: on(shift(1, H), X.weighted(MIX_H, MIX_W).then(avg(W))),
        lambda: X.weighted(MIX_H, np.roll(MIX_W, 1, axis=0)).then(avg(W)),
    ),
    "output of a group": (
        Reason.GROUP_UNUSED,
        lambda: on(output_for(X.then(PAIRS).shape, 2), X.then(PAIRS, EXP)),
        lambda: X.then(EXP),
    ),
    "product over a group": (
        Reason.GROUP_UNUSED,
        lambda: on(BMM(0, 0, False), X.then(PAIRS), X),
        lambda: apply(BMM(0, 0, False), X, X),
    ),
    "sum with a group": (
        Reason.GROUP_UNUSED,
        lambda: joining("add", X.then(PAIRS), Y),
        lambda: X.joined("add", Y),
    ),
    "sum to a group": (
        Reason.GROUP_UNUSED,
        lambda: joining("add", Y, X.then(PAIRS)),
        lambda: Y.joined("add", X).then(PAIRS),
    ),
    # softmax
    "softmax after the same was added": (
        Reason.SOFTMAX_CANCELS,
        lambda: on(Softmax(C), X.then(avg(C)).joined("add", X)),
        lambda: X.then(Softmax(C)),
    ),
    "softmax after it was subtracted from the same": (
        Reason.SOFTMAX_CANCELS,
        lambda: on(Softmax(H), X.then(avg(H, W), avg(C)).joined("sub", X).then(shift(1, W))),
        lambda: X.then(NEG, Softmax(H), shift(1, W)),
    ),
    "softmax over nothing": (
        Reason.SOFTMAX_OF_ONE,
        lambda: on(BMM(0, 0, True), X, X.then(avg(H, W))),
        lambda: apply(BMM(0, 0, True), Y, Y.then(avg(H, W))),
    ),
    # weights
    "fc of a scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(FULL, X.weighted(SCALE_C, C_W).then(shift(1, H)), weight=SQUARE_W),
        lambda: X.then(shift(1, H)).weighted(FULL, SQUARE_W * C_W),
    ),
    "fc of an unfolded scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(FULL, X.weighted(SCALE_C, C_W).then(Unfold("H", 3, 1)), weight=CONV_W[..., 0].reshape(4, 12)),
        lambda: X.then(Unfold("H", 3, 1)).weighted(FULL, (CONV_W[..., 0] * C_W[:, None]).reshape(4, 12)),
    ),
    "conv of a scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(CONV, X.weighted(SCALE_C, C_W), weight=CONV_W),
        lambda: X.weighted(CONV, CONV_W * C_W[:, None, None]),
    ),
    "depthwise conv of a scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(DEPTHWISE, X.weighted(SCALE_C, C_W), weight=DEPTH_W),
        lambda: X.weighted(DEPTHWISE, DEPTH_W * C_W[:, None, None, None]),
    ),
    "mix of a scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(MIX_H, X.weighted(SCALE_H, H_W), weight=MIX_W),
        lambda: X.weighted(MIX_H, MIX_W * H_W),
    ),
    "larger scale of a scale": (
        Reason.SCALE_IN_WEIGHT,
        lambda: on(SCALE_CH, X.weighted(SCALE_H, H_W), weight=CH_W),
        lambda: X.weighted(SCALE_CH, CH_W * H_W),
    ),
    "scale of fc": (
        Reason.SCALE_BEFORE,
        lambda: on(SCALE_C, THROUGH_FC.then(NEG, avg(H)), weight=C_W),
        lambda: X.weighted(FULL, -SQUARE_W * C_W[:, None]).then(avg(H)),
    ),
    "scale of a depthwise conv": (
        Reason.SCALE_BEFORE,
        lambda: on(SCALE_C, X.weighted(DEPTHWISE, DEPTH_W), weight=C_W),
        lambda: X.weighted(DEPTHWISE, DEPTH_W * C_W[:, None, None, None]),
    ),
    "scale of a mix, grouped since": (
        Reason.SCALE_BEFORE,
        lambda: on(Scale((G,)), X.weighted(FULL, SQUARE_W).then(PAIRS), weight=C_W[:2]),
        lambda: X.weighted(FULL, SQUARE_W * np.repeat(C_W[:2], 2)[:, None]).then(PAIRS),
    ),
    "smaller scale of a scale": (
        Reason.SCALE_BEFORE,
        lambda: on(SCALE_C, X.weighted(SCALE_CH, CH_W), weight=C_W),
        lambda: X.weighted(SCALE_CH, CH_W * C_W[:, None]),
    ),
    "scales in the other order": (
        Reason.SCALE_ORDER,
        lambda: on(SCALE_C, X.weighted(SCALE_H, H_W), weight=C_W),
        lambda: X.weighted(SCALE_C, C_W).weighted(SCALE_H, H_W),
    ),
    "fc of fc": (
        Reason.WEIGHT_IN_WEIGHT,
        lambda: on(TWO, THROUGH_FC.then(shift(1, H)), weight=NARROW_W),
        lambda: X.then(shift(1, H)).weighted(TWO, NARROW_W @ SQUARE_W),
    ),
    "conv of fc": (
        Reason.WEIGHT_IN_WEIGHT,
        lambda: on(CONV, THROUGH_FC, weight=CONV_W),
        lambda: X.weighted(CONV, np.einsum("ocij,cd->odij", CONV_W, SQUARE_W)),
    ),
    "grouped fc of fc": (
        Reason.WEIGHT_IN_WEIGHT,
        lambda: on(FULL, THROUGH_FC.then(PAIRS), weight=GROUPED_W),
        lambda: X.weighted(FULL, block(GROUPED_W) @ SQUARE_W),
    ),
    "mix of fc": (
        Reason.WEIGHT_IN_WEIGHT,
        lambda: on(Mix((C,), (constant(2),)), THROUGH_FC, weight=NARROW_W),
        lambda: X.weighted(Mix((C,), (constant(2),)), NARROW_W @ SQUARE_W),
    ),
    "fc of conv": (
        Reason.WEIGHT_BEFORE,
        lambda: on(FULL, X.weighted(CONV, CONV_W), weight=SQUARE_W),
        lambda: X.weighted(CONV, np.einsum("oc,cdij->odij", SQUARE_W, CONV_W)),
    ),
    "fc of fc of unfold": (
        Reason.WEIGHT_BEFORE,
        lambda: on(FULL, X.then(Unfold("H", 3, 1)).weighted(FULL, CONV_W[..., 0].reshape(4, 12)), weight=SQUARE_W),
        lambda: X.then(Unfold("H", 3, 1)).weighted(FULL, SQUARE_W @ CONV_W[..., 0].reshape(4, 12)),
    ),
    "mix that drops what fc made": (
        Reason.DROP_BEFORE,
        lambda: on(DROP_C, X.weighted(TWO, NARROW_W), weight=C_W[:2]),
        lambda: X.weighted(DROP_C, C_W[:2] @ NARROW_W),
    ),
    "mix that drops what a mix made": (
        Reason.DROP_BEFORE,
        lambda: on(DROP_H, X.weighted(MIX_H, MIX_W), weight=H_W[:3]),
        lambda: X.weighted(DROP_H, H_W[:3] @ MIX_W),
    ),
}


@pytest.mark.parametrize("name", PROOFS)
def test_what_is_masked_equals_something_simpler(name):
    reason, masked, simpler = PROOFS[name]
    primitive, operands, weight = masked()
    assert refusal(primitive, *operands) == reason
    result = apply(primitive, *operands, weight=weight)
    tolerance = 1e-6 if reason is Reason.ROOT_OF_SQUARE else 1e-12  # Sqrt adds 1e-12 under the root
    np.testing.assert_allclose(result.value, simpler().value, rtol=tolerance, atol=tolerance)
