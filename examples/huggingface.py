"""Kernels in image classifiers of Hugging Face's transformers.

    python examples/huggingface.py                                          # both networks, with a zoo operator
    python examples/huggingface.py --kernel runs/my-run
    python -m canvas_rl.train --model examples.huggingface:resnet           # search for one of them

The networks are made from configurations, with random weights. For trained ones, write a factory with
`ResNetForImageClassification.from_pretrained(...)` in the same way.
"""

import argparse
import sys
from importlib import import_module
from typing import Any

import torch
from torch import nn

import canvas_rl
from canvas_rl.errors import CanvasError, MissingDependencyError
from canvas_rl.handover import resolve_kernel
from canvas_rl.models.outputs import main_tensor
from canvas_rl.placeholder import sites_of

Made = tuple[nn.Module, torch.Tensor]


def resnet() -> Made:
    """ResNet-18 for ten classes; its 3x3 convolutions of stride 1 can be replaced."""
    config = library().ResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=10
    )
    return library().ResNetForImageClassification(config), torch.zeros(1, 3, 224, 224)


def convnext() -> Made:
    """ConvNeXt-T for ten classes; its 7x7 depthwise convolutions can be replaced."""
    config = library().ConvNextConfig(num_labels=10)
    return library().ConvNextForImageClassification(config), torch.zeros(1, 3, 224, 224)


def small_resnet() -> Made:
    """A ResNet with bottleneck blocks that runs in a moment."""
    config = library().ResNetConfig(
        embedding_size=16, depths=[2, 2], hidden_sizes=[32, 64], layer_type="bottleneck", num_labels=10
    )
    return library().ResNetForImageClassification(config), torch.zeros(1, 3, 32, 32)


def small_convnext() -> Made:
    """A ConvNeXt that runs in a moment."""
    config = library().ConvNextConfig(
        num_stages=2, depths=[1, 1], hidden_sizes=[16, 32], patch_size=2, num_labels=10, image_size=32
    )
    return library().ConvNextForImageClassification(config), torch.zeros(1, 3, 32, 32)


def library() -> Any:
    """The package of Hugging Face.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module("transformers")
    except ImportError as error:
        raise MissingDependencyError("these networks need transformers: pip install transformers") from error


def replace_and_run(name: str, made: Made, kernel: str) -> None:
    """Say what becomes of each convolution, put the kernel in, and run forward and backward."""
    model, example = made
    print(f"{name}: {canvas_rl.auto_place(model, example)}")
    sites, _ = sites_of(model)
    canvas_rl.replace(model, resolve_kernel(kernel, sites).pack)
    scores = main_tensor(model(torch.randn(2, *example.shape[1:])))
    scores.square().mean().backward()
    print(f"scores {list(scores.shape)}; every weight has a gradient: {_all_learn(model)}\n")


def _all_learn(model: nn.Module) -> bool:
    return all(weight.grad is not None for weight in model.parameters())


def main() -> int:
    """Both networks; the exit code."""
    parser = argparse.ArgumentParser(description="Put a kernel into networks of transformers.")
    parser.add_argument("--kernel", default="bottleneck", help="a run, its best/, a kernel.json or a zoo name")
    parser.add_argument("--quick", action="store_true", help="small networks")
    options = parser.parse_args()
    factories = (small_resnet, small_convnext) if options.quick else (resnet, convnext)
    try:
        for factory in factories:
            replace_and_run(factory.__name__, factory(), options.kernel)
    except CanvasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
