"""Receptive fields: which input pixels an element of a tensor may depend on."""

from typing import NamedTuple

GLOBAL = 1 << 20


class Field(NamedTuple):
    """Bounding box of the input pixels, relative to an element's own place; `GLOBAL` reaches every pixel."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @staticmethod
    def union(*fields: "Field") -> "Field":
        """The smallest box around all."""
        if len(fields) == 1:
            return fields[0]
        tops, bottoms, lefts, rights = zip(*fields, strict=True)
        return Field(min(tops), max(bottoms), min(lefts), max(rights))

    def grow(self, height: int = 0, width: int = 0) -> "Field":
        """The box with so many more pixels on each side."""
        return Field(self.top - height, self.bottom + height, self.left - width, self.right + width)

    def shift(self, height: int = 0, width: int = 0) -> "Field":
        """The box moved."""
        return Field(self.top + height, self.bottom + height, self.left + width, self.right + width)

    def everywhere(self, height: bool, width: bool) -> "Field":
        """The box extended over the whole height and width."""
        return self.grow(GLOBAL if height else 0, GLOBAL if width else 0)

    def pixels(self, height: int, width: int) -> int:
        """Pixels of the box at an image of this size."""
        return min(self.bottom - self.top + 1, height) * min(self.right - self.left + 1, width)
