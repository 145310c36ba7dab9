"""A site: one place of a network where a kernel is put, with its integer sizes."""

from dataclasses import dataclass

from canvas_rl.errors import PlaceholderError, shown

LARGEST_SIZE = 2**31 - 1


@dataclass(frozen=True, order=True)
class Site:
    """The integer sizes of one placeholder; input and output have the same shape.

    Args:
        c: channels.
        h: height (length for 1-D), None for 0-D.
        w: width, None for 0-D and 1-D.
    """

    c: int
    h: int | None = None
    w: int | None = None

    def __post_init__(self) -> None:
        if self.h is None and self.w is not None:
            raise PlaceholderError(f"a site with a width of {self.w} needs a height too: use h for 1-D sites")
        if not all(1 <= size <= LARGEST_SIZE for size in self.shape):
            raise PlaceholderError(f"site {shown(self.shape)} has a size below 1 or above {LARGEST_SIZE}")

    @property
    def spatial_dims(self) -> int:
        """How many spatial dimensions the site has: 0, 1 or 2."""
        return sum(size is not None for size in (self.h, self.w))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C,), (C, H) or (C, H, W)."""
        return tuple(size for size in (self.c, self.h, self.w) if size is not None)

    def __str__(self) -> str:
        return f"{self.c}@{'x'.join(str(size) for size in self.shape[1:]) or '1'}"


@dataclass(frozen=True)
class ReferenceConv:
    """The convolution that a kernel replaces at a site: what budgets and speedups are relative to."""

    kernel_size: int = 3
    groups: int = 1

    def flops(self, site: Site) -> int:
        """FLOPs (2 per multiply-add) of one sample."""
        return 2 * self.params(site) * (site.h or 1) * (site.w or 1)

    def params(self, site: Site) -> int:
        """Number of weights; the convolution has no bias."""
        return site.c * site.c // self.groups * int(self.kernel_size**site.spatial_dims)

    def activation(self, site: Site) -> int:
        """Elements of one sample's output."""
        return site.c * (site.h or 1) * (site.w or 1)


def check_sites(sites: tuple[Site, ...]) -> None:
    """Refuse an empty set of sites and a mix of spatial dimensions, which no single kernel can serve.

    Raises:
        PlaceholderError: as above.
    """
    if not sites:
        raise PlaceholderError("no site was given: a kernel needs at least one placeholder to be legal at")
    dims = {site.spatial_dims for site in sites}
    if len(dims) > 1:
        listed = ", ".join(str(site) for site in sites)
        raise PlaceholderError(
            f"the sites {listed} have different numbers of spatial dims ({sorted(dims)}): "
            "one kernel serves sites of one kind; search for each kind on its own"
        )
