"""Run an example through a model and leave no trace of it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from canvas_rl.errors import PlaceholderError

ExampleInput = torch.Tensor | tuple[Any, ...] | list[Any] | dict[str, Any]
"""One tensor, or several arguments: positional (tuple or list) or by name (dict)."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each module's own mode afterwards.

    Modes are set one module at a time, because `eval()` is overridden in some models and does more.
    """
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run what is inside in evaluation mode without gradients, then put the model back as it was.

    Modes, buffers (BatchNorm statistics and the like) and the random generators of torch, Python and NumPy are
    restored.
    """
    buffers = _saved_buffers(model)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - a model may draw from the global one
    with torch.random.fork_rng(_cuda_devices(model)), torch.no_grad(), evaluating(model):
        try:
            yield
        finally:
            for module, name, buffer, saved in buffers:
                buffer.copy_(saved)
                module._buffers[name] = buffer
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def _saved_buffers(model: nn.Module) -> list[tuple[nn.Module, str, torch.Tensor, torch.Tensor]]:
    return [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and not is_lazy(buffer)
    ]


def _cuda_devices(model: nn.Module) -> list[int]:
    tensors = [*model.parameters(), *model.buffers()]
    return sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})


def run_example(model: nn.Module, example_input: ExampleInput) -> None:
    """Call the model with the example.

    Raises:
        PlaceholderError: the example is not of a kind that can be passed, or the model fails with it.
    """
    args, kwargs = call_arguments(example_input)
    try:
        model(*args, **kwargs)
    except PlaceholderError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise PlaceholderError(
            f"the model fails with the example input {describe(example_input)}: {type(error).__name__}: {reason}"
        ) from error


def call_arguments(example_input: ExampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional arguments and arguments by name.

    Raises:
        PlaceholderError: it is not of a kind that can be passed.
    """
    if isinstance(example_input, torch.Tensor):
        return (example_input,), {}
    if isinstance(example_input, tuple | list):
        return tuple(example_input), {}
    if isinstance(example_input, dict):
        return (), example_input
    raise PlaceholderError(
        f"the example input is a {type(example_input).__name__}: expected a tensor, "
        "a tuple of the model's arguments or a dict of them by name"
    )


def describe(example_input: ExampleInput) -> str:
    """The example in a few words, for messages."""
    if isinstance(example_input, torch.Tensor):
        return f"of shape {tuple(example_input.shape)}"
    values = example_input.values() if isinstance(example_input, dict) else example_input
    shapes = [str(tuple(value.shape)) if isinstance(value, torch.Tensor) else repr(value)[:40] for value in values]
    return f"({', '.join(shapes)})"
