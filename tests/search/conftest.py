"""A data set for whole searches."""

import numpy as np
import pytest


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
