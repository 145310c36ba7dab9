"""What every test shares: one thread each (tests run side by side), the `cuda` marker and a small search space."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the worker processes that tests spawn

import pytest
import torch

from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

torch.set_num_threads(1)

SMALL = {
    "allowed_filter": "fc,conv,fold,relu,badd,shift",
    "kernel_sizes": (3,),
    "dilated_sizes": (1,),
    "shift_sizes": (1,),
    "num_primitive_range": (2, 4),
    "num_max_width_range": (2, 2),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """A small space whose kernels are quick to build."""
    return SearchSpace((Site(8, 4, 4), Site(16, 2, 2)), SearchOptions(**SMALL))
