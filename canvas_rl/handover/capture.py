"""A module as torch.export sees it: called with tensors by position, giving tensors alone, for any batch size."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from canvas_rl.errors import ConfigError, ExportError
from canvas_rl.models.outputs import named_tensors
from canvas_rl.placeholder import ExampleInput
from canvas_rl.placeholder.dry_run import call_arguments

_BATCH_AT_CAPTURE = 2  # torch.export takes sizes of 0 and 1 for constants


class Positional(nn.Module):
    """A copy of a module in evaluation mode that takes the tensors of its example by position and gives tensors alone.

    So a file of it needs no classes of other libraries. What is no tensor in the example stays as it is there.

    Args:
        module: any module; it is copied.
        example: its arguments.

    Raises:
        ConfigError: the example has no tensor with a batch dimension.
    """

    def __init__(self, module: nn.Module, example: ExampleInput) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).eval()
        self._args, self._kwargs = call_arguments(example)
        if not self.tensors or not self.tensors[0].dim() or not len(self.tensors[0]):
            raise ConfigError("the example input has no tensor with a batch dimension: expected one, such as an image")

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors of the example."""
        return [value for value in (*self._args, *self._kwargs.values()) if isinstance(value, torch.Tensor)]

    @property
    def batched(self) -> list[bool]:
        """Which of them have the batch as their first dimension: the first one, and those of the same first size."""
        batch = self.tensors[0].shape[0]
        return [tensor.dim() > 0 and tensor.shape[0] == batch for tensor in self.tensors]

    def inputs(self, batch_size: int) -> tuple[torch.Tensor, ...]:
        """The example's tensors, repeated or cut to a batch size."""
        return tuple(
            tensor.repeat(-(-batch_size // len(tensor)), *[1] * (tensor.dim() - 1))[:batch_size] if batched else tensor
            for tensor, batched in zip(self.tensors, self.batched, strict=True)
        )

    def output(self, *tensors: torch.Tensor) -> Any:
        """What the module itself gives."""
        given = iter(tensors)

        def filled(value: Any) -> Any:
            return next(given) if isinstance(value, torch.Tensor) else value

        args = [filled(value) for value in self._args]
        return self.module(*args, **{name: filled(value) for name, value in self._kwargs.items()})

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The only tensor of the module's output, or all of them."""
        found = tuple(tensor for _, tensor in named_tensors(self.output(*tensors)))
        return found[0] if len(found) == 1 else found

    def input_names(self) -> list[str]:
        """Names of the tensors: those that the module's `forward` has for them."""
        known = inspect.signature(self.module.forward).parameters.values()
        own = [parameter.name for parameter in known if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        own += [f"input_{index}" for index in range(len(own), len(self._args))]
        given = [*zip(own, self._args, strict=False), *self._kwargs.items()]
        return [name for name, value in given if isinstance(value, torch.Tensor)]


@dataclass(frozen=True)
class Captured:
    """A module captured by torch.export, and the names of what goes in and out."""

    program: ExportedProgram
    inputs: list[str]
    outputs: list[str]


def capture(positional: Positional, batch_size: int | None) -> Captured:
    """Capture a module for one batch size, or for any.

    Raises:
        ExportError: torch.export can't do it; the message says why.
    """
    tensors = positional.inputs(batch_size or _BATCH_AT_CAPTURE)
    try:
        with torch.no_grad():
            outputs = [name for name, _ in named_tensors(positional.output(*tensors))]
            program = torch.export.export(positional, tensors, dynamic_shapes=_dynamic(positional, batch_size))
    except Exception as error:  # anybody's module may raise anything
        way = "" if batch_size else "; where it is the batch that it can't leave open, fix it with batch_size"
        raise ExportError(f"torch.export can't capture the module ({first_line(error)}){way}") from error
    if not outputs:
        raise ExportError("the module gives no tensor: there is nothing to export")
    return Captured(program, positional.input_names(), outputs)


def first_line(error: Exception) -> str:
    """An exception in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def noise(tensors: Sequence[torch.Tensor], seed: int) -> Iterator[torch.Tensor]:
    """Tensors of the same shapes: numbers anew from a normal distribution, whole numbers in a random order.

    So token ids stay valid and no row stays as it was traced. Masks stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors:
        if tensor.is_floating_point():
            yield torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
        elif tensor.dtype == torch.bool:
            yield tensor.clone()
        else:
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            yield tensor.flatten()[order].reshape(tensor.shape)


def _dynamic(positional: Positional, batch_size: int | None) -> Any:
    if batch_size:
        return None
    batch = Dim("batch")
    return {"tensors": tuple({0: batch} if batched else None for batched in positional.batched)}
