"""Which dims of a tensor a template is about: one dim, a whole group, or all."""

from collections.abc import Iterator

from canvas_rl.errors import GraphError
from canvas_rl.primitives.base import require
from canvas_rl.symbolic.shape import CHANNEL, SLOTS, SPATIAL, Dim, Shape

SINGLE_DIMS = tuple(Dim(group, slot) for group in (0, 1) for kind in (CHANNEL, SPATIAL) for slot in SLOTS[kind])
PAIRS = tuple(
    (Dim(group, first), Dim(group, second)) for group in (0, 1) for first, second in (("H", "W"), ("KH", "KW"))
)


def selections() -> Iterator[str]:
    """Names of all selections: a dim such as `0.C`, a group `0` or `1`, or `all`."""
    yield from (str(dim) for dim in SINGLE_DIMS)
    yield from ("0", "1", "all")


def selected(selection: str, shape: Shape) -> tuple[Dim, ...]:
    """The dims of a shape that a selection names.

    Raises:
        GraphError: a dim is absent, or a smaller selection names the same dims.
    """
    dims = shape.dims()
    if selection == "all":
        require(len({dim.group for dim in dims}) == 2, "'all' needs dims in both groups: {}", shape)
        return dims
    if selection in ("0", "1"):
        chosen = tuple(dim for dim in dims if str(dim.group) == selection)
        require(len(chosen) > 1, "group {} has fewer than two dims: {}", selection, shape)
        return chosen
    chosen = tuple(dim for dim in dims if str(dim) == selection)
    require(len(chosen) == 1, "there is no dim {} in {}", selection, shape)
    return chosen


def check_present(dims: tuple[Dim, ...], shape: Shape, name: str) -> None:
    """Refuse an empty list of dims, a dim that the shape does not have, and another order than that of the axes.

    Raises:
        GraphError: as above.
    """
    for dim in dims:
        require(shape.size(dim) is not None, "{} is about {}, which {} does not have", name, dim, shape)
    if not dims or dims != tuple(dim for dim in shape.dims() if dim in dims):
        raise GraphError(f"{name} needs different dims in the order of the axes, not {[str(dim) for dim in dims]}")


def check_window(dims: tuple[Dim, ...], name: str) -> None:
    """Refuse what is neither one dim nor a pair.

    Raises:
        GraphError: as above.
    """
    if len(dims) != 1 and dims not in PAIRS:
        raise GraphError(f"{name} takes one dim or a pair, not {listed(dims)}")


def listed(dims: tuple[Dim, ...]) -> str:
    """Dim names for a comment."""
    return ", ".join(dim.slot for dim in dims)
