"""What an agent sees of an unfinished kernel: a bounded vector that summarises the program so far."""

from collections.abc import Sequence
from math import log2
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box

from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.shape import SLOTS, SPATIAL, Group, Shape, input_shape

if TYPE_CHECKING:
    from canvas_rl.space import SearchSpace, State

SHOWN_TENSORS = 4
"""Tensors of the stack that are shown, from the top."""
TENSOR_FEATURES = 30
"""Features of a tensor."""
SHOWN_FAMILIES = 3
"""Last actions whose families are shown."""
SHOWN_ACTIONS = 16
"""Last actions that are shown."""
COUNTED = 4
"""Uses of a family beyond this many look the same."""
_SLOTS = 4
_BUDGETS = {"flops_budget": "FLOPs", "params_budget": "parameters", "memory_budget": "activations"}
_COUNTERS = (
    "primitives used",
    "primitives left",
    "primitives missing",
    "weighted used",
    "weighted left",
    "weighted share",
    "stack depth",
    "stack full",
)
_MOST_TENSORS = 1 << 14
_LOG_SCALE = 16.0

Vector = npt.NDArray[np.float32]


class ObservationEncoder:
    """Turns states of a search space into vectors of numbers from 0 to 1.

    In this order (F is the number of families):

    - 8 counters: primitives used, primitives left, primitives missing to the shortest length allowed, weighted
      primitives used, weighted primitives left, their share, stack depth, and whether the depth is at its limit;
    - the share spent of each budget that the space has, at the site where it is greatest;
    - F uses of each family so far, up to 4;
    - 3 x F one-hot families of the last three actions, the last one first;
    - 4 x 30 features of the stack's tensors from the top, all 0 where there is none: whether there is one, has the
      kernel's input shape, is (channel, spatial); log2 of its elements; and for each of two groups of dims whether
      it is spatial, and for each of four slots (G, C, KH, KW or H, W) whether the dim is there, log2 of its size and
      its free variables. Logarithms are of the sizes at the first site, free variables counting 2, divided by 16;
    - the last 16 actions, the last one first: (index + 1) / number of actions, 0 where there is none.

    Args:
        space: the search space whose states are encoded.
    """

    def __init__(self, space: "SearchSpace") -> None:
        self._space = space
        self._family_of = space.family_of
        self._families = len(space.families)
        self._values = symbol_values(space.sites[0])
        self._input = input_shape(space.sites[0].spatial_dims)
        self._tensors: dict[bytes, Vector] = {}
        budgets = [shown for option, shown in _BUDGETS.items() if getattr(space.options, option) is not None]
        self.names = feature_names(space.families, budgets)
        self._counted = len(_COUNTERS) + len(budgets)
        self.box = Box(0.0, 1.0, (len(self.names),), np.float32)

    def encode(self, state: "State") -> Vector:
        """The observation of a state."""
        features: Vector = np.zeros(len(self.names), dtype=np.float32)
        features[: self._counted] = self._counters(state) + [min(share, 1.0) for share in self._space.spent(state)]
        place = self._counted
        families = self._family_of[np.array(state.actions, dtype=np.intp)]
        uses = np.bincount(families, minlength=self._families)
        features[place : place + self._families] = np.minimum(uses, COUNTED) / COUNTED
        for family in families[: -SHOWN_FAMILIES - 1 : -1].tolist():
            place += self._families
            features[place + family] = 1.0
        place = self._counted + (1 + SHOWN_FAMILIES) * self._families
        for depth, key in enumerate(self._space.shape_keys(state, SHOWN_TENSORS)):
            tensor = self._tensors.get(key)
            if tensor is None:
                tensor = self._remember(key, self._space.shown_shape(state, depth))
            features[place : place + len(tensor)] = tensor
            place += len(tensor)
        shown = np.array(state.actions[: -SHOWN_ACTIONS - 1 : -1], dtype=np.float32)
        place = len(features) - SHOWN_ACTIONS
        features[place : place + len(shown)] = (shown + 1) / len(self._family_of)
        return features

    def _counters(self, state: "State") -> list[float]:
        limits = state.limits
        weighted, width = max(self._space.options.num_weighted_range[1], 1), state.depth
        return [
            state.primitives / limits.max_primitives,
            (limits.max_primitives - state.primitives) / limits.max_primitives,
            max(limits.min_primitives - state.primitives, 0) / limits.max_primitives,
            state.weighted / weighted,
            (weighted - state.weighted) / weighted,
            state.weighted / max(state.primitives, 1),
            width / limits.width,
            float(width >= limits.width),
        ]

    def _remember(self, key: bytes, shape: Shape) -> Vector:
        if len(self._tensors) >= _MOST_TENSORS:
            self._tensors.clear()
        values = [1.0, float(shape == self._input), float(shape.is_image()), self._log(shape.numel())]
        values += self._group(shape.first) + self._group(shape.second)
        self._tensors[key] = np.clip(np.array(values, dtype=np.float32), 0.0, 1.0)
        return self._tensors[key]

    def _group(self, group: Group) -> list[float]:
        values = [float(group.kind == SPATIAL)]
        for size in group.sizes + (None,) * (_SLOTS - len(group.sizes)):
            values += [0.0, 0.0, 0.0] if size is None else [1.0, self._log(size), len(size.variables()) / 2]
        return values

    def _log(self, size: Any) -> float:
        num, den = size.fraction({**self._values, **dict.fromkeys(size.variables(), 2)})
        return float(log2(max(num / den, 1)) / _LOG_SCALE)


def feature_names(families: Sequence[str], budgets: Sequence[str]) -> tuple[str, ...]:
    """The name of every feature, in order."""
    names = [*_COUNTERS, *(f"{budget} spent" for budget in budgets)]
    names += [f"uses of {family}" for family in families]
    names += [f"action -{age} is {family}" for age in range(1, SHOWN_FAMILIES + 1) for family in families]
    channel_slots, spatial_slots = (SLOTS[kind] for kind in ("channel", "spatial"))
    for tensor in range(SHOWN_TENSORS):
        names += [f"tensor {tensor} {what}" for what in ("exists", "is input-shaped", "is an image", "log2 elements")]
        for group in (0, 1):
            names.append(f"tensor {tensor} group {group} is spatial")
            for slot in range(_SLOTS):
                spatial = f" or {spatial_slots[slot]}" if slot < len(spatial_slots) else ""
                where = f"tensor {tensor} group {group} {channel_slots[slot]}{spatial}"
                names += [f"{where} exists", f"{where} log2 size", f"{where} free variables"]
    names += [f"action -{age}" for age in range(1, SHOWN_ACTIONS + 1)]
    return tuple(names)
