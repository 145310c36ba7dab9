"""Which actions the search for a finishing program tries, best first; which of them are legal, the core's rule says."""

from collections.abc import Iterator
from typing import Any

from canvas_rl.primitives.arithmetic import OPERATIONS
from canvas_rl.primitives.elementwise import FUNCTIONS
from canvas_rl.primitives.selection import PAIRS
from canvas_rl.space.actions import ActionSet
from canvas_rl.symbolic.shape import Dim

_JOINS = tuple(operation.family for operation in OPERATIONS.values())
_KEEP_SHAPE = ("GeLU", *(f.family for f in FUNCTIONS.values() if f.family != "GeLU"), "Shift", "Softmax")
_CHANGE_SHAPE = ("Group", "Fold", "UnfoldH", "UnfoldW", "UnfoldHW")
_WEIGHTED = ("fc(C)", "scale(0.C)", "scale(0)", "scale(1)", "scale(all)")
_MIXES = ("mix(0.C,dropped)", "mix(0.C,fresh)", "mix(1.W,fresh)", "mix(1.H,fresh)")
_NAMES = ("G", "C", "KH", "KW", "H", "W")


def routes(actions: ActionSet) -> dict[str, Any]:
    """The lists of actions that the core's search knows (`Routes` in its sources), as indices."""
    lists = _Lists(actions)
    joins = lists.of(*_JOINS)
    return {
        "into_top": [i for i in joins if actions.names[i].endswith("(under->top)")],
        "into_under": [i for i in joins if actions.names[i].endswith("(top->under)")],
        "bmm": lists.of("BMM"),
        "keep_shape": lists.of(*_KEEP_SHAPE),
        "change_shape": lists.of(*_CHANGE_SHAPE),
        "weighted": [*lists.named(*_WEIGHTED), *lists.windows(), *lists.named(*_MIXES)],
        "to_channels": lists.named("fc(C)"),
        "wider": [lists.wider("HW"), lists.wider("H"), lists.wider("W")],
        "folds": [lists.folds(f"{group}.{name}") for group in (0, 1) for name in _NAMES],
        "fold_pairs": [lists.folds(_pair(group, spatial)) for group in (0, 1) for spatial in (False, True)],
        "family": [lists.of(family) for family in actions.families],
        "joins": family_set(actions, *_JOINS),
        "unary": family_set(actions, *_KEEP_SHAPE),
        "folding": family_set(actions, "Fold"),
    }


def family_set(actions: ActionSet, *families: str) -> int:
    """A set of families as the core has it: one bit each; those that the space does not have are left out."""
    return sum(1 << actions.families.index(family) for family in set(families) if family in actions.families)


def _pair(group: int, spatial: bool) -> str:
    slots = next(pair for pair in PAIRS if pair[0] == Dim(group, "H" if spatial else "KH"))
    return f"{group}.{''.join(dim.slot for dim in slots)}"


class _Lists:
    """Looks actions up."""

    def __init__(self, actions: ActionSet) -> None:
        self._actions = actions

    def of(self, *families: str) -> list[int]:
        return [index for family in families for index in self._actions.of_family(family)]

    def named(self, *names: str) -> list[int]:
        return [self._actions.index[name] for name in names if name in self._actions.index]

    def folds(self, dims: str) -> list[int]:
        return self.named(f"fold({dims},avg)", f"fold({dims},max)")

    def windows(self) -> Iterator[int]:
        """The first dense convolution to C of each window form (square, high, wide)."""
        forms = set()
        for index in self.of("Convolution"):
            name = self._actions.names[index]
            if name.endswith(",C)") and _form(name) not in forms:
                forms.add(_form(name))
                yield index

    def wider(self, axes: str) -> list[int]:
        """Actions that widen the receptive field along some axes, those that widen it most first."""
        convolutions = [i for i in self.of("Convolution") if not self._actions.names[i].endswith(",x)")]
        windows = [i for i in convolutions if _form(self._actions.names[i]) == axes]
        globally = self.folds(f"1.{axes}") + (self.named(f"mix(1.{axes},fresh)") if len(axes) == 1 else [])
        return [*reversed(windows), *reversed(self.of(f"Unfold{axes}")), *globally]


def _form(name: str) -> str:
    """The axes that a convolution's window spans."""
    height, width = name.removeprefix("conv(").split(",")[0].split("x")
    return ("H" if height != "1" else "") + ("W" if width != "1" else "")
