"""A data set for whole searches, and measured kernels."""

import numpy as np
import pytest

from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.study.archive import Entry


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data set that trains in a moment: which half of a small image is brighter."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(300, 1, 8, 8)).astype(np.float32)
    labels = (images[:, :, :4].mean((1, 2, 3)) > images[:, :, 4:].mean((1, 2, 3))).astype(np.int64)
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    parts = {"train_images": images[:200], "train_labels": labels[:200]}
    np.savez(path, test_images=images[200:], test_labels=labels[200:], **parts)
    return ["--dataset", str(path)]


@pytest.fixture(scope="session")
def entries(space):
    """Measured kernels, the first the best."""
    rng, found = np.random.default_rng(0), {}
    while len(found) < 5:
        graph = space.sample(rng)
        found[graph.hash] = graph
    return [
        Entry(
            graph, Measurement(graph.hash, Status.OK, speedup=2.0 + place, quality=0.5 - place / 10), 0.75 - place / 4
        )
        for place, graph in enumerate(found.values())
    ]
