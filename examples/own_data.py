"""A data set of your own: which way the stripes of an image run.

python -m canvas_rl.train --dataset examples.own_data:stripes
python examples/own_data.py    # what two known operators make of it
"""

import argparse

import numpy as np
import torch

from canvas_rl import zoo
from canvas_rl.evaluation.data import load_dataset
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_sites, train_proxy

IMAGES, SIZE = 900, 8


def stripes() -> dict[str, np.ndarray]:
    """Images with stripes that run down (0) or across (1), under noise; two thirds are for training.

    The arrays' names are those of an .npz file. Without `val_images`, a part of the training images is for validation.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, IMAGES)
    phase = rng.integers(0, 4, IMAGES)
    wave = np.sin((np.arange(SIZE) + phase[:, None]) * np.pi / 2)
    images = np.where(labels[:, None, None] == 1, wave[:, :, None], wave[:, None, :]) + rng.normal(
        0, 0.7, (IMAGES, SIZE, SIZE)
    )
    cut = IMAGES * 2 // 3
    return {
        "train_images": images[:cut, None].astype(np.float32),
        "train_labels": labels[:cut],
        "test_images": images[cut:, None].astype(np.float32),
        "test_labels": labels[cut:],
    }


def main() -> None:
    """Train the proxy network with two operators on the stripes."""
    parser = argparse.ArgumentParser(description="Train two known operators on a data set of one's own.")
    parser.add_argument("--quick", action="store_true", help="one epoch")
    epochs = 1 if parser.parse_args().quick else 5
    torch.set_num_threads(1)
    name = f"{__name__}:stripes"
    config = ProxyConfig.for_dataset(name, epochs=epochs, channels=(8, 16), blocks=(1, 1))
    dataset = load_dataset(name)
    for operator in ("conv1x1", "depthwise_separable"):
        kernel = zoo.pack(operator, proxy_sites(config, dataset))
        result = train_proxy(lambda site, made=kernel.module: made(*site.shape), config, dataset=dataset)
        print(f"{operator}: {result.accuracy:.1%} of the validation images, {result.test_accuracy:.1%} of the test's")


if __name__ == "__main__":
    main()
