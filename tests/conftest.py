"""What every test shares: one thread each (tests run side by side) and the `cuda` marker."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the worker processes that tests spawn

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)
