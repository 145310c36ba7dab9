"""Refusing options that no kernel can meet, at once and by name."""

from typing import TYPE_CHECKING

from canvas_rl.errors import EmptySpaceError
from canvas_rl.space.state import Limits

if TYPE_CHECKING:
    from canvas_rl.space.search_space import SearchSpace


def check_options(space: "SearchSpace") -> None:
    """Refuse options that contradict each other, then those for which no first program is found.

    Raises:
        EmptySpaceError: the message names the options in conflict.
    """
    options, rules = space.options, space.rules
    most = options.num_primitive_range[1]
    weighted = options.num_weighted_range[0]
    if weighted > most:
        raise EmptySpaceError(
            f"num_weighted_range asks for {weighted} weighted primitives and num_primitive_range allows {most} in all"
        )
    if weighted > options.max_weighted_ratio * most + 1e-9:
        raise EmptySpaceError(
            f"num_weighted_range asks for {weighted} weighted primitives, and "
            f"max_weighted_ratio {options.max_weighted_ratio} of at most {most} primitives allows "
            f"{int(options.max_weighted_ratio * most)}"
        )
    if weighted and not rules.enabled & {"FC", "Convolution", "Mix", "Scale"}:
        raise EmptySpaceError(
            f"num_weighted_range asks for {weighted} weighted primitives, "
            "but the filters leave none of FC, Convolution, Mix, Scale"
        )
    if options.force_bmm_possibility > 0 and "BMM" not in rules.enabled:
        raise EmptySpaceError(f"force_bmm_possibility is {options.force_bmm_possibility}, but the filters rule out BMM")
    if len(rules.necessary) > most and len({entry[1] for entry in rules.necessary}) > most:
        raise EmptySpaceError(
            f"necessary_filter names {len(rules.necessary)} primitives, more than num_primitive_range allows ({most})"
        )
    _check_receptive(space)
    _check_start(space)


def _check_receptive(space: "SearchSpace") -> None:
    smallest = min(space.sites, key=lambda site: (site.h or 1) * (site.w or 1))
    pixels = (smallest.h or 1) * (smallest.w or 1)
    if space.options.min_receptive_size > pixels:
        raise EmptySpaceError(
            f"min_receptive_size is {space.options.min_receptive_size}, but site {smallest} has only {pixels} pixels"
        )


def _check_start(space: "SearchSpace") -> None:
    options = space.options
    low, high = options.num_max_width_range
    forced = options.force_bmm_possibility
    for width in sorted({low, high}):
        for require_bmm in {forced > 0, forced == 1}:
            limits = Limits(*options.num_primitive_range, width, require_bmm)
            if not space.can_start(limits):
                raise EmptySpaceError(_why(space, limits))


def _why(space: "SearchSpace", limits: Limits) -> str:
    options = space.options
    named = [
        f"{name} {value!r}"
        for name, value, default in (
            ("allowed_filter", options.allowed_filter, ""),
            ("forbidden_filter", options.forbidden_filter, ""),
            ("necessary_filter", options.necessary_filter, ""),
            ("num_weighted_range", options.num_weighted_range, (1, 8)),
            ("max_weighted_ratio", options.max_weighted_ratio, 0.6),
            ("min_receptive_size", options.min_receptive_size, 1),
            ("flops_budget", options.flops_budget, None),
            ("params_budget", options.params_budget, None),
            ("memory_budget", options.memory_budget, None),
            ("activation_limit", options.activation_limit, 2**30),
        )
        if value != default
    ]
    named += [f"num_primitive_range {options.num_primitive_range}", f"width {limits.width}"]
    named += ["a forced BMM"] if limits.require_bmm else []
    sites = ", ".join(map(str, space.sites))
    return f"no kernel was found that meets {', '.join(named)} together at the sites {sites}: relax one of them"
