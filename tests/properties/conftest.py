"""How many examples a property gets, and the record of a run by hand.

    CANVAS_RL_EXAMPLES=10000 CANVAS_RL_RECORD=experiments/results/property_suite.json \
        python -m pytest tests/properties -p no:xdist --hypothesis-seed=1

runs every property 10,000 times with a seed and writes counts and durations. Without these variables every property
has 200 examples, the same ones each time.
"""

import json
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import canvas_rl

RECORD = os.environ.get("CANVAS_RL_RECORD")
ROWS: list[dict[str, object]] = []


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Counts of a property's examples by how they ended; kept in the record of a run by hand."""
    counts, start = Counter[str](), time.perf_counter()
    yield counts
    ROWS.append({"test": request.node.nodeid, **counts, "seconds": round(time.perf_counter() - start, 1)})


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if RECORD is None:
        return
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    record = {
        "command": "CANVAS_RL_EXAMPLES={} python -m pytest {}".format(
            os.environ.get("CANVAS_RL_EXAMPLES", "200"), " ".join(session.config.invocation_params.args)
        ),
        "commit": git.stdout.strip(),
        "exit_status": int(exitstatus),
        "seconds": round(sum(float(str(row["seconds"])) for row in ROWS), 1),
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "canvas_rl": canvas_rl.__version__,
            "machine": platform.machine(),
        },
        "tests": ROWS,
    }
    Path(RECORD).write_text(json.dumps(record, indent=2) + "\n")
