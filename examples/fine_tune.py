"""Replace the convolutions of a trained network and fine-tune it, with the network as it was for a teacher.

    python examples/fine_tune.py                          # a quarter of a minute on one core
    python examples/fine_tune.py --kernel runs/my-run     # with a kernel that a search found

A small network learns the 8x8 handwritten digits that are shipped with canvas_rl. Then a kernel takes the place of its
3x3 convolutions, everything else keeps its weights, and the whole is fine-tuned.
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import canvas_rl
from canvas_rl.evaluation.data import Split, load_dataset
from canvas_rl.handover import resolve_kernel
from canvas_rl.placeholder import sites_of


def make_network() -> nn.Module:
    """A convolutional network for [N, 1, 8, 8] and ten classes; four of its convolutions can be replaced."""

    def block(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]

    stem = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), *block(32), *block(32), nn.MaxPool2d(2)]
    body = [nn.Conv2d(32, 64, 1), nn.ReLU(), *block(64), *block(64)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def batches(split: Split, shuffle: bool = False) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Batches of (images, labels)."""
    data = TensorDataset(torch.from_numpy(split.images), torch.from_numpy(split.labels))
    return DataLoader(data, batch_size=32, shuffle=shuffle)


def train(network: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], epochs: int) -> None:
    """Train a network from scratch, as you have trained yours."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()


def main() -> None:
    """Train, replace, fine-tune, compare."""
    parser = argparse.ArgumentParser(description="Fine-tune a network after its convolutions were replaced.")
    parser.add_argument("--kernel", default="depthwise_separable", help="a run, its best/, a kernel.json or a zoo name")
    parser.add_argument("--distillation", type=float, default=0.5, help="0: learn from the labels alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="too few epochs to learn much, in a few seconds")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    digits = load_dataset("digits")
    learning, validation = batches(digits.train, shuffle=True), batches(digits.validation)
    original = make_network()
    train(original, learning, epochs=1 if options.quick else 15)

    network = copy.deepcopy(original)
    canvas_rl.auto_place(network, torch.zeros(1, 1, 8, 8))
    kernel = resolve_kernel(options.kernel, sites_of(network)[0]).pack
    canvas_rl.replace(network, kernel)

    epochs, kernel_epochs = (1, 1) if options.quick else (10, 2)
    config = canvas_rl.FineTuneConfig(
        epochs=epochs, kernel_epochs=kernel_epochs, learning_rate=3e-3, distillation=options.distillation
    )
    report = canvas_rl.fine_tune(network, original, learning, validation, config)
    count = [sum(weight.numel() for weight in item.parameters()) for item in (original, network)]
    print(report)
    print(f"weights: {count[0]} before, {count[1]} with {kernel.name}")


if __name__ == "__main__":
    main()
