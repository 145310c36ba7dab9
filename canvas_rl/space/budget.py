"""Budgets: upper bounds on a kernel's cost at every site, in absolute numbers."""

from collections.abc import Sequence
from typing import NamedTuple

from canvas_rl.config import SearchOptions
from canvas_rl.symbolic.site import ReferenceConv, Site

LIMIT_BATCH, FLOAT_BYTES = 128, 4
_UNBOUNDED = float(1 << 62)

Cap = list[float]
"""A bound at each site; empty where there is none."""


class Budget(NamedTuple):
    """The cost bounds of a search space.

    Attributes:
        caps: of FLOPs, parameters and activation elements.
        width_caps: how far free sizes may widen FLOPs and parameters: the budget, or the replaced convolution's cost.
        largest_activation: most elements of one sample's tensor.
        largest_weight: most elements of a learned tensor.
    """

    caps: list[Cap]
    width_caps: list[Cap]
    largest_activation: float
    largest_weight: float


def budget_of(
    places: Sequence[Site],
    sites: Sequence[Site],
    references: Sequence[ReferenceConv | None],
    options: SearchOptions,
) -> Budget:
    """The budget of a search space.

    `places` are the different sites; `references` has the convolution replaced at each of `sites` (None for a site
    without budgets), of which repeated ones keep the cheapest.
    """
    cheapest: dict[Site, tuple[int, int, int] | None] = dict.fromkeys(sites)
    for site, conv in zip(sites, references, strict=True):
        if conv is not None:
            cost = (conv.flops(site), conv.params(site), conv.activation(site))
            cheapest[site] = min(cost, cheapest[site] or cost)

    def cap(index: int, ratio: float | None) -> Cap:
        if ratio is None:
            return []
        costs = (cheapest[site] for site in places)
        return [_UNBOUNDED if cost is None else float(int(cost[index] * ratio)) for cost in costs]

    ratios = (options.flops_budget, options.params_budget, options.memory_budget)
    return Budget(
        caps=[cap(index, ratio) for index, ratio in enumerate(ratios)],
        width_caps=[cap(index, 1.0 if ratio is None else ratio) for index, ratio in enumerate(ratios[:2])],
        largest_activation=float(options.activation_limit // (LIMIT_BATCH * FLOAT_BYTES)),
        largest_weight=float(options.activation_limit // FLOAT_BYTES),
    )
