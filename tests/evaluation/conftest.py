"""Makes the planted kernels importable, here and in the workers (which take over this process's path)."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def planted_path() -> None:
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
