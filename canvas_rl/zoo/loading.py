"""Known operators by name: their programs, kernel graphs and modules."""

from collections.abc import Sequence
from dataclasses import replace

from canvas_rl.config import MOST_PRIMITIVES, SearchOptions
from canvas_rl.errors import IllegalActionError, UnknownNameError
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels import KernelPack
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.registry import did_you_mean
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites
from canvas_rl.zoo.attention import ATTENTION
from canvas_rl.zoo.convolutions import CONVOLUTIONS
from canvas_rl.zoo.operator import ROOM, Operator

OPERATORS = {entry.name: entry for entry in (*CONVOLUTIONS, *ATTENTION)}


def names(spatial_dims: int | None = None) -> tuple[str, ...]:
    """All names, or those of the operators that exist at sites with so many spatial dims."""
    return tuple(name for name, entry in OPERATORS.items() if spatial_dims is None or spatial_dims in entry.dims)


def operator(name: str) -> Operator:
    """What is known of an operator.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in OPERATORS:
        raise UnknownNameError(
            f"unknown operator {name!r}: expected one of {', '.join(OPERATORS)}.{did_you_mean(name, OPERATORS)}"
        )
    return OPERATORS[name]


def program(name: str, spatial_dims: int = 2) -> tuple[str, ...]:
    """Names of the actions that build an operator, for `SearchSpace.replay`.

    Raises:
        UnknownNameError: there is no operator of that name.
        PlaceholderError: it makes no sense at sites with so many spatial dims.
    """
    return operator(name).program(spatial_dims)


def build(name: str, space: SearchSpace) -> KernelGraph:
    """An operator in a search space of yours, free sizes filled as that space fills them.

    Raises:
        UnknownNameError: there is no operator of that name.
        PlaceholderError: it makes no sense at the space's sites.
        IllegalActionError: the space has no such kernel; the message names the action and says why.
    """
    state = space.start()
    for action in program(name, space.sites[0].spatial_dims):
        if action not in space.actions:
            raise IllegalActionError(
                f"the operator {name!r} needs {action}, which the channels of {', '.join(map(str, space.sites))} "
                "or the filters and sizes of the options rule out"
            )
        index = space.actions.index(action)
        reason = space.explain(state, index)
        if reason:
            raise IllegalActionError(f"the operator {name!r} is not in this search space: {reason}")
        state = space.step(state, index)
    assert state.graph is not None, f"the program of {name!r} does not end"
    return state.graph


def load(
    name: str,
    sites: Sequence[Site | Sequence[int]] = DEFAULT_SITES,
    options: SearchOptions | None = None,
    references: Sequence[ReferenceConv | None] | None = None,
) -> KernelGraph:
    """An operator that is legal at some sites.

    Args:
        name: one of `names()`.
        sites: where it shall be legal, as `Site`s or (C, H, W) tuples; by default those of a ResNet.
        options: the search options it must keep to, except that kernels may be as short and as long as it needs; None
            for those that it needs alone.
        references: the convolution replaced at each site, to which budgets are relative (default: 3x3).

    Raises:
        UnknownNameError: there is no operator of that name.
        PlaceholderError: it makes no sense at such sites.
        EmptySpaceError: no kernel at all can meet the options.
        IllegalActionError: it is not legal at the sites or under the options; the message says why.
    """
    entry, places = operator(name), tuple(site if isinstance(site, Site) else Site(*site) for site in sites)
    check_sites(places)
    count = entry.primitive_count(places[0].spatial_dims)
    chosen = options and replace(options, num_primitive_range=_widened(options.num_primitive_range, count))
    return build(name, SearchSpace(places, chosen or entry.options(places[0].spatial_dims), references))


def pack(
    name: str,
    sites: Sequence[Site | Sequence[int]] = DEFAULT_SITES,
    options: SearchOptions | None = None,
    references: Sequence[ReferenceConv | None] | None = None,
) -> KernelPack:
    """An operator with its module class and texts; arguments and errors are those of `load`."""
    return KernelPack(load(name, sites, options, references))


def debug_sample() -> KernelPack:
    """Large-kernel attention, as Canvas's function of that name gives."""
    return pack("large_kernel_attention")


def _widened(limits: tuple[int, int], count: int) -> tuple[int, int]:
    return min(limits[0], count), max(limits[1], min(count + ROOM, MOST_PRIMITIVES))
