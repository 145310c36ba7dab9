"""Budgets: upper bounds on a kernel's cost at every site."""

from collections.abc import Iterable, Mapping, Sequence

from canvas_rl.config import SearchOptions
from canvas_rl.primitives.base import require
from canvas_rl.space.state import Costs
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.site import ReferenceConv, Site
from canvas_rl.symbolic.size import Size

LIMIT_BATCH, FLOAT_BYTES = 128, 4
_UNBOUNDED = 1 << 62


class Budget:
    """The cost bounds of a search space, in absolute numbers a site.

    Args:
        binding: the sites.
        references: the convolution replaced at each site of `sites`; None for a site without budgets.
        sites: the sites in the order of `references`; repeated sites keep the cheapest reference.
        options: ratios and the activation limit.
    """

    def __init__(
        self,
        binding: Binding,
        sites: Sequence[Site],
        references: Sequence[ReferenceConv | None],
        options: SearchOptions,
    ) -> None:
        self.binding = binding
        cheapest: dict[Site, tuple[int, int, int] | None] = dict.fromkeys(sites)
        for site, conv in zip(sites, references, strict=True):
            if conv is not None:
                cost = (conv.flops(site), conv.params(site), conv.activation(site))
                cheapest[site] = min(cost, cheapest[site] or cost)
        self.reference = tuple(cheapest[site] for site in binding.sites)
        self.ratios = (options.flops_budget, options.params_budget, options.memory_budget)
        self.caps = [self._cap(index, ratio) for index, ratio in enumerate(self.ratios)]
        self.width_caps = [cap or self._cap(index, 1.0) for index, cap in enumerate(self.caps[:2])]
        self.largest_activation = options.activation_limit // (LIMIT_BATCH * FLOAT_BYTES)
        self.largest_weight = options.activation_limit // FLOAT_BYTES

    def _cap(self, index: int, ratio: float | None) -> tuple[int, ...] | None:
        if ratio is None:
            return None
        return tuple(_UNBOUNDED if cost is None else int(cost[index] * ratio) for cost in self.reference)

    @property
    def active(self) -> bool:
        """Whether any ratio is set."""
        return any(cap is not None for cap in self.caps)

    def totals(self, sizes: Iterable[Size], witness: Mapping[int, Size]) -> tuple[int, ...]:
        """Sums of sizes at every site under an assignment."""
        sums = [0] * len(self.binding.sites)
        for size in sizes:
            values = self.binding.integers(size.substitute(witness))
            assert values is not None, f"a cost of {size} is no integer"
            for i, value in enumerate(values):
                sums[i] += value
        return tuple(sums)

    def broken(self, costs: Costs, witness: Mapping[int, Size]) -> str | None:
        """The name of a budget that is exceeded at some site, or None."""
        for cap, name in zip(self.caps, ("flops", "params", "activation"), strict=True):
            if cap is not None and _exceeds(self.totals(getattr(costs, name), witness), cap):
                return {"flops": "flops_budget", "params": "params_budget", "activation": "memory_budget"}[name]
        return None

    def check(self, costs: Costs, witness: Mapping[int, Size]) -> None:
        """Refuse a cost beyond a budget.

        Raises:
            GraphError: as above, with the budget's name.
        """
        broken = self.broken(costs, witness)
        require(broken is None, "{} would be exceeded", broken)

    def slack(self, costs: Costs, witness: Mapping[int, Size], steps: int, elements: Size) -> bool:
        """Whether `steps` more primitives without weights, each at most `elements` large and cheap, surely fit."""
        if not self.active:
            return True
        values = self.binding.integers(elements.substitute(witness))
        if values is None:
            return False
        for cap, name in zip(self.caps, ("flops", "params", "activation"), strict=True):
            if cap is None or name == "params":
                continue
            sums = self.totals(getattr(costs, name), witness)
            if any(have + 8 * steps * value > most for have, value, most in zip(sums, values, cap, strict=True)):
                return False
        return True

    def within_width(self, costs: Costs, witness: Mapping[int, Size]) -> bool:
        """Whether an assignment keeps the budgets, or the convolution's own cost where there is none."""
        if self.broken(costs, witness) is not None:
            return False
        parts = ((self.width_caps[0], costs.flops), (self.width_caps[1], costs.params))
        return not any(cap is not None and _exceeds(self.totals(sizes, witness), cap) for cap, sizes in parts)


def _exceeds(values: Sequence[int], caps: Sequence[int]) -> bool:
    return any(value > cap for value, cap in zip(values, caps, strict=True))
