"""Shapes: two groups of dims, each channel-like (G, C, KH, KW) or spatial-like (H, W).

A dim is present by slot, not by size: a slot holds a size or None, and a size that happens to be 1 stays a dim.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from canvas_rl.symbolic.size import CHANNELS, HEIGHT, WIDTH, Size, product

CHANNEL, SPATIAL = "channel", "spatial"
SLOTS = {CHANNEL: ("G", "C", "KH", "KW"), SPATIAL: ("H", "W")}
_POSITIONS = {kind: {slot: position for position, slot in enumerate(slots)} for kind, slots in SLOTS.items()}


class Dim(NamedTuple):
    """The address of a dim: group 0 or 1, and the slot's name."""

    group: int
    slot: str

    def __str__(self) -> str:
        return f"{self.group}.{self.slot}"


class Group(NamedTuple):
    """One group of dims: its kind and, for each slot of that kind, a size or None where the dim is absent."""

    kind: str
    sizes: tuple[Size | None, ...]

    def present(self) -> tuple[Size, ...]:
        """Sizes of the dims that are present, in slot order."""
        return tuple(filter(None, self.sizes))

    def size(self, slot: str) -> Size | None:
        """The size in a slot, None where the dim is absent or the group is of the other kind."""
        position = _POSITIONS[self.kind].get(slot)
        return None if position is None else self.sizes[position]

    def with_sizes(self, **sizes: Size | None) -> "Group":
        """This group with some slots set (None removes the dim)."""
        slots = SLOTS[self.kind]
        return Group(self.kind, tuple(sizes.get(slot, old) for slot, old in zip(slots, self.sizes, strict=True)))

    def numel(self) -> Size:
        """Product of the sizes."""
        return product(self.present())


class Shape(NamedTuple):
    """Shape of one sample of a tensor: the dims of group 0, then those of group 1; the batch dim is not in it."""

    first: Group
    second: Group

    def dims(self) -> tuple[Dim, ...]:
        """Addresses of the dims that are present, in the order of the tensor's axes after the batch axis."""
        return _dims(self)

    def sizes(self) -> tuple[Size, ...]:
        """Sizes of the dims that are present, in the same order."""
        return self.first.present() + self.second.present()

    def size(self, dim: Dim) -> Size | None:
        """The size at an address, None where that dim is absent."""
        return self[dim.group].size(dim.slot)

    def with_dim(self, dim: Dim, size: Size | None) -> "Shape":
        """This shape with one dim set (None removes it)."""
        return self.with_group(dim.group, self[dim.group].with_sizes(**{dim.slot: size}))

    def with_group(self, index: int, group: Group) -> "Shape":
        """This shape with one group replaced."""
        return Shape(group, self.second) if index == 0 else Shape(self.first, group)

    def axis(self, dim: Dim) -> int:
        """The axis of a present dim in the tensor; axis 0 is the batch."""
        return 1 + self.dims().index(dim)

    def numel(self) -> Size:
        """Elements of one sample."""
        return product(self.sizes())

    def is_image(self) -> bool:
        """Whether it is (channel, spatial), which FC, Convolution and Unfold need."""
        return self.first.kind == CHANNEL and self.second.kind == SPATIAL

    def substitute(self, values: Mapping[int, Size]) -> "Shape":
        """This shape with free variables replaced."""
        if not any(size is not None and size.has_variables for group in self for size in group.sizes):
            return self
        return Shape(*(Group(g.kind, tuple(s and s.substitute(values) for s in g.sizes)) for g in self))

    def labels(self) -> tuple[str, ...]:
        """Each dim as `slot=size`, or the slot alone where its size has the same name, as in C or H."""
        pairs = zip(self.dims(), self.sizes(), strict=True)
        return tuple(dim.slot if str(size) == dim.slot else f"{dim.slot}={size}" for dim, size in pairs)

    def __str__(self) -> str:
        return _text(self)


@lru_cache(maxsize=1 << 14)
def _dims(shape: Shape) -> tuple[Dim, ...]:
    return tuple(
        Dim(index, slot)
        for index, group in enumerate(shape)
        for slot, size in zip(SLOTS[group.kind], group.sizes, strict=True)
        if size is not None
    )


@lru_cache(maxsize=1 << 12)
def _text(shape: Shape) -> str:
    return f"[{', '.join(shape.labels())}]"


def image(channels: Size, height: Size | None, width: Size | None) -> Shape:
    """The (channel, spatial) shape {C}, {H, W}."""
    return Shape(Group(CHANNEL, (None, channels, None, None)), Group(SPATIAL, (height, width)))


def input_shape(spatial_dims: int) -> Shape:
    """Shape of a kernel's input and output: {C} and {H, W} (2-D), {H} (1-D) or {} (0-D)."""
    return image(CHANNELS, HEIGHT if spatial_dims > 0 else None, WIDTH if spatial_dims > 1 else None)
