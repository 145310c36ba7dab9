"""What is known of a tensor from the way it was made, and why a primitive on it would make no sense.

The rules are proved one by one in `tests/core/test_canonical_rules.py` and explained in `docs/canonical.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from canvas_rl.symbolic.shape import CHANNEL, Dim, Shape

Dims = frozenset[Dim]
NO_DIMS: Dims = frozenset()


class Reason(StrEnum):
    """Why a primitive makes no sense on its operands; each says what does the same."""

    NOTHING_TO_CLIP = "no element is negative: it would change nothing"
    ALL_CLIPPED = "no element is positive: the result would be zero everywhere"
    SIGN_UNDONE = "a Neg came before: it would undo it"
    SIGN_LOST = "a Neg came before, and the sign is lost here: leave the Neg out"
    SIGN_IN_WEIGHT = "a Neg came before: the weight can have the other sign itself"
    SIGN_BEFORE = "weights came before: they can have the other sign themselves"
    ABS_INSIDE = "it takes the absolute value itself: leave the Abs out"
    ROOT_OF_SQUARE = "the square root of a square, or the square of a square root, is Abs"
    ONE_SIGN = "almost all elements are likely to have one sign: it would change nothing or leave nothing"
    OVERFLOW = "its operand grows so fast that the result would overflow"
    FOLD_FIRST = "the maximum of an increasing function is the function of the maximum: fold first"
    FOLD_PAIR = "one Fold over the pair does both"
    TOP_WINS = "many elements have the greatest value there is: the maximum would be that everywhere"
    ADDS_UP = "it averages a softmax over its own dims: the result does not depend on the input, or hardly"
    ROLLED_ALREADY = "these dims were rolled before: one Shift of each dim is enough"
    ROLL_IN_WEIGHT = "a Shift along its channels came before: the weight can be permuted instead"
    ROLL_BEFORE = "weights came before: they can be permuted instead"
    SOFTMAX_CANCELS = "what was added is the same along this dim: the softmax cancels it"
    SOFTMAX_FLAT = "a softmax came before and made elements small or alike: another one would be almost uniform"
    SOFTMAX_PICKS = "its operand grows so fast that the softmax would pick one element, without a gradient"
    SOFTMAX_OF_ONE = "nothing is left to take the softmax over"
    SCALE_IN_WEIGHT = "a Scale of what it contracts came before: its weight can take it over"
    SCALE_BEFORE = "weights came before: they can take the Scale over"
    SCALE_ORDER = "the same Scales can come in the other order"
    WEIGHT_IN_WEIGHT = "an FC from all channels to as many came before: this weight can take it over"
    WEIGHT_BEFORE = "weights came before: they can take over this one of as many channels"
    DROP_BEFORE = "weights made these dims: they can leave them out at once"
    ONE_SIDE = "the signs of the operands say that one of them is never chosen, or hardly ever"
    SMALL_SIDE = "one operand is close to zero and the other has one sign: one of them is hardly ever chosen"
    NEG_OPERAND = "a Neg came before an operand: without it, the opposite operation does the same"
    GROUP_UNUSED = "channels were split into groups, and the groups made no difference"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tensor, whatever its sizes.

    Attributes:
        sign: 1 if no element is negative, -1 if none is positive, 0 if unknown.
        lean: the sign that almost all elements are likely to have with fresh weights, 2 if it is one but not known
            which, 0 if both signs occur.
        unit: -1 if all elements are between -1 and 1, 1 if none is below 1, 0 if unknown.
        function: `abs`, `sqrt`, `square` or `increasing` if that came right before; or empty.
        growth: how fast elements grow with the input, from 0 (no faster) over 1 (its square) and 2 (its exponential).
        small: whether elements are close to zero, because a softmax came before.
        flat: whether elements hardly depend on the input, because a softmax came before.
        steady: whether elements have one sign and a narrow range.
        clipped: 1 if many elements have the greatest value there is, -1 if many have the least, else 0.
        negated: whether a Neg could be left out if the sign of this tensor did not matter.
        signed: whether weights could be chosen so that this tensor had the other sign.
        normalised: dims over which the sum does not depend on the input.
        offset: dims along which the same number was added everywhere.
        rolled: dims that were rolled.
        scaled: dims of a Scale that may as well come right now.
        absorbs: dims of a Scale that weights before could take over.
        dense: dims of a square matrix that weights before could take over.
        square: whether an FC from all channels to as many may as well come right now.
        wide: whether dim C of group 0 has as many elements as the input has channels.
        regrouped: groups with a G dim that made no difference yet.
        folded: kind and dim of the Fold of a single dim that came right before.
    """

    sign: int = 0
    lean: int = 0
    unit: int = 0
    function: str = ""
    growth: int = 0
    small: bool = False
    flat: bool = False
    steady: bool = False
    clipped: int = 0
    negated: bool = False
    signed: bool = False
    normalised: Dims = NO_DIMS
    offset: Dims = NO_DIMS
    rolled: Dims = NO_DIMS
    scaled: Dims = NO_DIMS
    absorbs: Dims = NO_DIMS
    dense: Dims = NO_DIMS
    square: bool = False
    wide: bool = False
    regrouped: frozenset[int] = frozenset()
    folded: tuple[str, Dim] | None = None

    @property
    def leaning(self) -> int:
        """`sign` where it is known, else `lean`."""
        return self.sign or self.lean


NOTHING = Facts()
MOST_GROWTH = 3


def summed(growth: int) -> int:
    """The growth of sums of many elements: their tails are lighter."""
    return max(growth - 1, 0)


def apart(known: Dims, dims: Iterable[Dim]) -> Dims:
    """The dims if they have none in common with `dims`, else none: a joint property of them is lost."""
    return NO_DIMS if known.intersection(dims) else known


def within(known: Dims, dims: Iterable[Dim]) -> bool:
    """Whether there are such dims and all are among `dims`."""
    return bool(known) and known.issubset(dims)


def channel_dims(shape: Shape) -> Dims:
    """The dims that FC and dense convolutions contract."""
    return frozenset(dim for dim in shape.dims() if dim.group == 0 and shape.first.kind == CHANNEL)


def untouched(regrouped: frozenset[int], dims: Iterable[Dim]) -> frozenset[int]:
    """The regrouped groups whose channels are not among `dims`."""
    return regrouped.difference(dim.group for dim in dims if dim.slot in ("G", "C"))


def split(dims: Dims, group: int) -> Dims:
    """The dims after C of a group became G and C."""
    return dims | {Dim(group, "G")} if Dim(group, "C") in dims else dims
