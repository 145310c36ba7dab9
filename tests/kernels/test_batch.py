"""Drawing many kernels: the same with any number of workers."""

import gc

import numpy as np
import pytest

from canvas_rl import SearchOptions, sample_many
from canvas_rl.errors import ConfigError, EmptySpaceError
from canvas_rl.garbage import no_collections
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITES = (Site(16, 8, 8), Site(32, 6, 6))
OPTIONS = SearchOptions(num_primitive_range=(2, 6))


def test_kernels_depend_on_the_seed_alone():
    one = [graph.hash for graph in sample_many(120, 3, SITES, OPTIONS)]
    two = [graph.hash for graph in sample_many(120, 3, SITES, OPTIONS, workers=2)]
    assert one == two
    assert one[:5] == [graph.hash for graph in sample_many(5, 3, SITES, OPTIONS)]
    assert one[:5] != [graph.hash for graph in sample_many(5, 4, SITES, OPTIONS)]


@pytest.mark.parametrize("change", [{"workers": 0}, {"count": -1}, {"seed": -1}])
def test_unusable_numbers_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        sample_many(**{"count": 1, **change})


def test_impossible_options_are_refused_before_any_worker_starts():
    with pytest.raises(EmptySpaceError):
        sample_many(1, options=SearchOptions(flops_budget=1e-9), workers=2)


def test_drawing_leaves_no_reference_cycles() -> None:
    space, rng = SearchSpace(SITES, OPTIONS), np.random.default_rng(0)
    gc.collect()
    with no_collections():
        for _ in range(20):
            space.sample(rng)
        assert gc.collect() == 0
