"""Random search spaces and kernels for the property tests.

A space is drawn from its number alone and a kernel from its space and a seed, so that a failing example is three
numbers. `EXAMPLES` is how many examples a property gets: few and always the same in CI, more by hand (see conftest).
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canvas_rl.config import SearchOptions
from canvas_rl.errors import EmptySpaceError, GraphError
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

EXAMPLES = int(os.environ.get("CANVAS_RL_EXAMPLES", "200"))
SPACES = 60 if EXAMPLES <= 1000 else 150
FAMILIES = ("fc", "conv", "mix", "scale", "unfold", "fold", "group", "shift", "softmax", "badd", "bmul", "bmm", "sin")
LARGEST_ACTIVATION = 128 * 4 * 20_000


class Drawn(NamedTuple):
    """A kernel, where it runs, and the seed of its weights and input."""

    space: int
    seed: int
    graph: KernelGraph
    site: Site

    def __repr__(self) -> str:
        return f"space {self.space}, seed {self.seed}, {self.site}: {', '.join(self.graph.program)}"


def draw_sites(rng: np.random.Generator) -> list[Site]:
    """One to three small sites of one kind; half of them with channels that have few divisors."""
    dims = int(rng.choice([2, 2, 2, 1, 0]))
    channels = (4, 8, 12, 16) if rng.random() < 0.5 else (5, 6, 7, 9, 10, 15)
    return [
        Site(int(rng.choice(channels)), *(int(n) for n in rng.integers(1, 9, dims))) for _ in range(rng.integers(1, 4))
    ]


def draw_options(rng: np.random.Generator) -> SearchOptions:
    """Options for short kernels: about half of them restrict something."""
    least = int(rng.integers(1, 7))
    chosen: dict[str, object] = {
        "num_primitive_range": (least, least + int(rng.integers(0, 9))),
        "num_max_width_range": (2, int(rng.integers(2, 5))),
        "num_weighted_range": (0, int(rng.integers(1, 6))),
        "max_weighted_ratio": float(rng.choice([0.5, 1.0])),
        "kernel_sizes": (3,) if rng.random() < 0.7 else (3, 5),
        "dilated_sizes": (1,) if rng.random() < 0.5 else (1, 2),
        "shift_sizes": (1,) if rng.random() < 0.7 else (1, 2),
        "ensure_spatial_invariance": bool(rng.random() < 0.7),
        "activation_limit": LARGEST_ACTIVATION,
    }
    restrictions: list[dict[str, object]] = [
        {"force_bmm_possibility": 1.0},
        {"min_receptive_size": 3},
        {"flops_budget": 1.5, "params_budget": 1.0},
        {"memory_budget": 20.0},
        {"necessary_filter": str(rng.choice(FAMILIES))},
        {"forbidden_filter": ",".join(rng.choice(FAMILIES, 3, replace=False))},
        {"allowed_filter": ",".join(rng.choice(FAMILIES, 6, replace=False))},
    ]
    if rng.random() < 0.5:
        chosen |= restrictions[rng.integers(len(restrictions))]
    return SearchOptions(**chosen)  # type: ignore[arg-type]


@lru_cache(maxsize=512)
def space(number: int) -> SearchSpace:
    """The search space of a number; what has no kernel is drawn again."""
    rng = np.random.default_rng([number, 7])
    while True:
        try:
            return SearchSpace(draw_sites(rng), draw_options(rng))
        except EmptySpaceError:
            continue


@lru_cache(maxsize=2 * EXAMPLES)
def draw(number: int, seed: int) -> Drawn:
    """A kernel of a space at one of its sites, or, where it must run at any resolution, often at another one.

    Kept, because hypothesis draws the same numbers for every property of a run.
    """
    rng, chosen = np.random.default_rng([number, seed]), space(number)
    graph = chosen.sample(rng)
    site = graph.sites[rng.integers(len(graph.sites))]
    if not graph.spatial_fixed and rng.random() < 0.7:
        other = Site(site.c, *(int(n) for n in rng.integers(1, 9, site.spatial_dims)))
        try:
            graph.check(other)
            site = other
        except GraphError:  # too small for a Shift or a Softmax
            pass
    return Drawn(number, seed, graph, site)


spaces = st.integers(0, SPACES - 1)
seeds = st.integers(0, 2**32 - 1)
kernels = st.builds(draw, spaces, seeds)


def for_all(tally: Counter[str], *strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Runs the decorated check on examples of strategies, and counts them."""

    def run(check: Callable[..., None]) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize="CANVAS_RL_EXAMPLES" not in os.environ,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(st.tuples(*strategies))
        def counted(example: tuple[Any, ...]) -> None:
            check(*example)
            tally["examples"] += 1

        counted()

    return run
