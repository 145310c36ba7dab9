"""Kernels in networks of torchvision and timm.

    python examples/timm_torchvision.py                                              # whichever is installed
    python examples/timm_torchvision.py --kernel runs/my-run
    python -m canvas_rl.train --model examples.timm_torchvision:torchvision_resnet   # search for one of them

The networks have random weights; nothing is downloaded. For trained ones, pass `weights=...` or `pretrained=True`.
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
from canvas_rl.placeholder import sites_of

Made = tuple[nn.Module, torch.Tensor]
IMAGE = torch.zeros(1, 3, 224, 224)


def torchvision_resnet() -> Made:
    """ResNet-18 of torchvision."""
    return library("torchvision.models").resnet18(weights=None), IMAGE


def torchvision_convnext() -> Made:
    """ConvNeXt-T of torchvision."""
    return library("torchvision.models").convnext_tiny(weights=None), IMAGE


def timm_resnet() -> Made:
    """ResNet-18 of timm."""
    return library("timm").create_model("resnet18", pretrained=False), IMAGE


def timm_convnext() -> Made:
    """The smallest ConvNeXt of timm."""
    return library("timm").create_model("convnext_atto", pretrained=False), IMAGE


FACTORIES = (torchvision_resnet, torchvision_convnext, timm_resnet, timm_convnext)


def library(name: str) -> Any:
    """An optional library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingDependencyError(f"this network needs {package}: pip install {package}") from error


def replace_and_run(name: str, made: Made, kernel: str) -> None:
    """Say what becomes of each convolution, put the kernel in, and run forward and backward."""
    model, example = made
    print(f"{name}: {canvas_rl.auto_place(model, example)}")
    sites, _ = sites_of(model)
    canvas_rl.replace(model, resolve_kernel(kernel, sites).pack)
    scores = model(torch.randn(2, *example.shape[1:]))
    scores.square().mean().backward()
    print(f"scores {list(scores.shape)}; with gradients: {all(w.grad is not None for w in model.parameters())}\n")


def main() -> int:
    """All networks whose library is installed; the exit code."""
    parser = argparse.ArgumentParser(description="Put a kernel into networks of torchvision and timm.")
    parser.add_argument("--kernel", default="bottleneck", help="a run, its best/, a kernel.json or a zoo name")
    options = parser.parse_args()
    for factory in FACTORIES:
        try:
            replace_and_run(factory.__name__, factory(), options.kernel)
        except MissingDependencyError as error:
            print(f"{factory.__name__}: left out, {error}")
        except CanvasError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
