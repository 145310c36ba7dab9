"""Weights of a network with or without its kernels, with Canvas's signatures."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder.placeholder import KERNEL_ATTRIBUTE


def get_state_dict(module: nn.Module, remove_placeholders: bool = False) -> "OrderedDict[str, Any]":
    """A copy of the state dict on the CPU.

    Args:
        module: the network.
        remove_placeholders: leave out the kernels, so that the rest can be restored around other kernels.
    """
    return OrderedDict(
        (key, value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value)
        for key, value in module.state_dict().items()
        if not (remove_placeholders and _in_kernel(key))
    )


def restore_from_state_dict(module: nn.Module, state_dict: Mapping[str, Any], strict: bool = False) -> None:
    """Load what `get_state_dict` gave; on an error nothing is loaded.

    Args:
        module: the network.
        state_dict: the weights.
        strict: refuse a state dict without the kernels' weights too (else the kernels keep theirs).

    Raises:
        PlaceholderError: weights are missing outside of kernels, unknown to the network, or of another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state_dict and (strict or not _in_kernel(key))]
    _refuse(missing, "lacks", "was it saved from another network?")
    unknown = [key for key in state_dict if key not in own]
    _refuse(unknown, "has unknown", "replace the placeholders with the kernel it was saved with, or save it without")
    other = [key for key, value in state_dict.items() if _shape(value) != _shape(own[key])]
    _refuse(other, "has other sizes for", "was it saved from a network of another size?")
    module.load_state_dict(state_dict, strict=False)


def remove_cache() -> None:
    """Do nothing: Canvas removes its folder of generated code here, and canvas_rl keeps none."""


def _in_kernel(key: str) -> bool:
    return KERNEL_ATTRIBUTE in key.split(".")


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _refuse(keys: list[str], what: str, hint: str) -> None:
    if keys:
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        raise PlaceholderError(f"the state dict {what} {keys[0]!r}{more}: {hint}")
