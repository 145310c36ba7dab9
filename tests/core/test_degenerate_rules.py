"""The rules that mask what can't start: on a normal input with fresh weights it is constant, or a gradient is lost."""

import re
from pathlib import Path

import numpy as np
import pytest
from tensors import Tensor, apply, given, refusal
from test_canonical_rules import PROOFS

from canvas_rl.primitives.arithmetic import Arithmetic, align
from canvas_rl.primitives.bmm import BMM
from canvas_rl.primitives.elementwise import Elementwise
from canvas_rl.primitives.facts import Reason
from canvas_rl.primitives.fc import FC
from canvas_rl.primitives.fold import Fold
from canvas_rl.primitives.mix import Mix
from canvas_rl.primitives.softmax import Softmax
from canvas_rl.symbolic.shape import Dim
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import CHANNELS

SITE = Site(32, 12, 12)
C, H, W = Dim(0, "C"), Dim(1, "H"), Dim(1, "W")
NEG, ABS, SQUARE, RELU, TANH, EXP, SIGMOID, GELU = map(
    Elementwise, ("neg", "abs", "square", "relu", "tanh", "exp", "sigmoid", "gelu")
)
FULL, DROP = FC(CHANNELS), Mix((C,), (None,))
X = given(SITE, batch=8)
RNG = np.random.default_rng(3)
WEIGHT = RNG.standard_normal((32, 32)) * 32**-0.5
DROP_W = RNG.standard_normal(32) * 32**-0.5
LOGITS = RNG.standard_normal((8, 100))


def both(name: str, left: Tensor, right: Tensor) -> tuple[Arithmetic, tuple[Tensor, Tensor]]:
    return Arithmetic(name, *align(left.shape, right.shape)), (left, right)


def relative_spread(values: np.ndarray) -> float:
    return float(values.std() / np.abs(values).mean())


@pytest.mark.parametrize(
    "tensor",
    [
        X.then(ABS, Elementwise("sin")),
        X.then(Fold((C,), "max")),
        X.then(Fold((H, W), "max"), NEG),
        X.then(Softmax(H), EXP).weighted(DROP, DROP_W),
    ],
    ids=["a sine", "a maximum", "a negative maximum", "one sum of elements that are all alike"],
)
@pytest.mark.parametrize("function", [RELU, ABS], ids=["relu", "abs"])
def test_elements_of_one_sign_are_not_clipped(tensor, function):
    assert refusal(function, tensor) == Reason.ONE_SIGN
    positive = float((tensor.value > 0).mean())
    assert max(positive, 1 - positive) > 0.95


def test_an_exponential_after_a_fast_growth_overflows():
    for before in ((EXP,), (SQUARE, SQUARE), (EXP, Fold((H,), "max"))):
        assert refusal(EXP, X.then(*before)) == Reason.OVERFLOW
    many = given(Site(64, 32, 32), batch=8)
    with np.errstate(over="ignore"):
        for before in ((EXP,), (SQUARE, SQUARE)):
            assert not np.isfinite(many.then(*before, EXP).value.astype(np.float32)).all()
    assert refusal(EXP, X.then(EXP, NEG)) is None
    assert refusal(EXP, X.then(EXP, TANH)) is None


@pytest.mark.parametrize("between", [(), (TANH,), (EXP,)], ids=["alone", "tanh", "exp"])
def test_the_maximum_of_what_is_clipped_from_above_is_constant(between):
    tensor = X.then(RELU, NEG, *between)
    assert refusal(Fold((H, W), "max"), tensor) == Reason.TOP_WINS
    assert np.ptp(tensor.then(Fold((H, W), "max")).value) == 0


@pytest.mark.parametrize("function", [SIGMOID, EXP, TANH, GELU], ids=["sigmoid", "exp", "tanh", "gelu"])
def test_the_average_of_a_smooth_function_of_a_softmax_hardly_varies(function):
    tensor = X.then(Softmax(C), function)
    assert refusal(Fold((C,), "avg"), tensor) == Reason.ADDS_UP
    assert relative_spread(tensor.then(Fold((C,), "avg")).value) < 0.03


@pytest.mark.parametrize("between", [(), (EXP,), (SIGMOID,), (NEG, Fold((W,), "avg"))], ids=str)
def test_a_softmax_after_a_softmax_is_almost_uniform(between):
    tensor = X.then(Softmax(C), *between)
    for dim in (C, H):
        assert refusal(Softmax(dim), tensor) == Reason.SOFTMAX_FLAT
        assert relative_spread(tensor.then(Softmax(dim)).value) < 0.1


def test_weights_make_a_softmax_large_enough_for_another():
    assert refusal(Softmax(H), X.then(Softmax(C)).weighted(FULL, WEIGHT)) is None
    assert refusal(Softmax(H), X.then(Softmax(C), EXP).weighted(FULL, WEIGHT)) == Reason.SOFTMAX_FLAT


def test_a_softmax_of_products_of_a_softmax_is_almost_uniform():
    product = BMM(1, 1, True)
    assert refusal(product, X.then(Softmax(C)), X) == Reason.SOFTMAX_FLAT
    assert relative_spread(apply(product, X.then(Softmax(C)), X).value) < 0.2
    assert refusal(product, X, X.then(EXP)) is None


def test_a_softmax_of_fast_growing_elements_picks_one():
    tensor = X.then(SQUARE, SQUARE, SQUARE)
    assert refusal(Softmax(H), tensor) == Reason.SOFTMAX_PICKS
    chosen = tensor.then(Softmax(H)).value.max(axis=2)
    assert float(np.median(chosen)) > 0.999


@pytest.mark.parametrize("operation", ["max", "min"])
def test_an_operand_close_to_zero_or_another_of_one_sign_is_never_chosen(operation):
    small = X.then(Softmax(C))
    for other in (X.then(SIGMOID), X.then(Fold((C,), "max")), X.then(EXP, NEG)):
        join, operands = both(operation, other, small)
        if other.facts.leaning == -1:
            assert refusal(join, *operands) == Reason.ONE_SIDE
        else:
            assert refusal(join, *operands) == Reason.SMALL_SIDE
        result = apply(join, *operands).value
        wide = np.broadcast_to(other.value if other.value.ndim == 4 else other.value[:, None], result.shape)
        picked = float((result == small.value).mean()), float((result == wide).mean())
        assert max(picked) > 0.99
    assert refusal(*both(operation, X, small)[:1], X, small) is None


def test_every_reason_is_proved():
    proved = {reason for reason, _, _ in PROOFS.values()}
    proved |= {Reason[name] for name in re.findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text())}
    assert proved == set(Reason)


def test_every_reason_is_on_the_page_of_rules():
    page = Path(__file__).parents[2] / "docs" / "canonical.md"
    assert [reason.name for reason in Reason if f"`{reason.name}`" not in page.read_text()] == []
