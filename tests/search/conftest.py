import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SMALL = {
    "allowed_filter": "fc,conv,fold,relu,badd,shift",
    "kernel_sizes": (3,),
    "dilated_sizes": (1,),
    "shift_sizes": (1,),
    "num_primitive_range": (2, 4),
    "num_max_width_range": (2, 2),
}


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return SearchSpace((Site(8, 4, 4), Site(16, 2, 2)), SearchOptions(**SMALL))
