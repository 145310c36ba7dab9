"""Bindings: what a symbolic size is at every site of a network."""

from collections.abc import Sequence

from canvas_rl.symbolic.site import Site, check_sites
from canvas_rl.symbolic.size import C, H, Size, W


def symbol_values(site: Site) -> dict[int, int]:
    """The integers of C, H and W at a site; absent spatial dims count 1."""
    return {C: site.c, H: site.h or 1, W: site.w or 1}


class Binding:
    """Answers questions about sizes (free of variables) at a fixed set of sites.

    Args:
        sites: the sites; all of one kind.
        spatial_fixed: whether the network always runs at the sites' H and W. If not, divisibility in H and W must
            hold symbolically, so that it holds at any resolution and not by a coincidence of these sites.
    """

    def __init__(self, sites: Sequence[Site], spatial_fixed: bool) -> None:
        check_sites(tuple(sites))
        self.sites = tuple(dict.fromkeys(sites))
        self.spatial_fixed = spatial_fixed
        self._values = [symbol_values(site) for site in self.sites]
        self._integers: dict[Size, tuple[int, ...] | None] = {}

    def integers(self, size: Size) -> tuple[int, ...] | None:
        """The size's integers, one a site, or None where it is no integer at some site."""
        if size not in self._integers:
            if len(self._integers) > 1 << 16:
                self._integers.clear()
            self._integers[size] = self._evaluate(size)
        return self._integers[size]

    def at_least(self, size: Size, least: int) -> bool:
        """Whether the size is an integer of at least `least` at every site."""
        values = self.integers(size)
        return values is not None and min(values) >= least

    def _evaluate(self, size: Size) -> tuple[int, ...] | None:
        if not self.spatial_fixed and any(symbol in (H, W) and exp < 0 for symbol, exp in size.exps):
            return None
        result = []
        for values in self._values:
            num, den = size.fraction(values)
            if num % den or (not self.spatial_fixed and not self._divides_without_space(size, values)):
                return None
            result.append(num // den)
        return tuple(result)

    @staticmethod
    def _divides_without_space(size: Size, values: dict[int, int]) -> bool:
        num, den = size.fraction({**values, H: 1, W: 1})
        return num % den == 0
