"""The tensors in what a network gives: networks of other libraries wrap their class scores in objects."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import nn

from canvas_rl.errors import ConfigError


def named_tensors(output: Any, name: str = "output") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of an output with names, in its order: of mappings, dataclasses, lists and tuples, however nested.

    What is neither is passed over, such as None or a number.
    """
    if isinstance(output, torch.Tensor):
        yield name, output
        return
    if isinstance(output, Mapping):
        parts = [(str(key), value) for key, value in output.items()]
    elif is_dataclass(output) and not isinstance(output, type):
        parts = [(item.name, getattr(output, item.name)) for item in fields(output)]
    elif isinstance(output, list | tuple):
        parts = [(f"{name}_{index}", value) for index, value in enumerate(output)]
    else:
        return
    for part, value in parts:
        yield from named_tensors(value, part)


def main_tensor(output: Any) -> torch.Tensor:
    """The tensor that an output is about: the output itself, its `logits`, or the first tensor in it.

    Raises:
        ConfigError: there is no tensor in it.
    """
    found = dict(named_tensors(output))
    if not found:
        raise ConfigError(
            f"the network gives a {type(output).__name__} without a tensor: expected a tensor, or an object, dict or "
            "tuple with one, such as class scores named logits"
        )
    return found.get("logits", next(iter(found.values())))


class MainTensor(nn.Module):
    """A network that gives the main tensor of its output alone.

    Args:
        network: any network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`main_tensor` of what the network gives for these arguments."""
        return main_tensor(self.network(*args, **kwargs))
