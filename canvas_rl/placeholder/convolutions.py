"""Which convolutions of a network a kernel can replace."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from canvas_rl.placeholder.dry_run import ExampleInput, run_example, undisturbed
from canvas_rl.placeholder.placeholder import KERNEL_ATTRIBUTE, Placeholder
from canvas_rl.symbolic.site import ReferenceConv, Site

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Call = tuple[tuple[int, ...], tuple[int, ...]]
"""Shapes of one call's input and output."""


@dataclass(frozen=True)
class CandidateRules:
    """Which convolutions are wanted; see `auto_place`."""

    min_kernel_size: int = 2
    spatial_dims: int | None = None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A convolution of a network and whether a kernel can replace it.

    Attributes:
        names: all its paths in the network.
        convolution: the module.
        reason: why a kernel can replace it or not.
        site: its sizes, None where a kernel can't replace it.
        placeholder: what would stand there.
    """

    names: tuple[str, ...]
    convolution: Convolution
    reason: str
    site: Site | None = None
    placeholder: Placeholder = field(default_factory=Placeholder)

    def swap(self, model: nn.Module) -> None:
        """Put the placeholder at every path of the convolution."""
        self._put(model, self.placeholder)

    def swap_back(self, model: nn.Module) -> None:
        """Put the convolution back."""
        self._put(model, self.convolution)

    def _put(self, model: nn.Module, module: nn.Module) -> None:
        for name in self.names:
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, module)


def find_candidates(model: nn.Module, example_input: ExampleInput, rules: CandidateRules) -> list[Candidate]:
    """Every convolution of the network, in the order of its modules, with a verdict; the network stays unchanged.

    Raises:
        PlaceholderError: the example can't run.
    """
    paths = _convolutions(model)
    with undisturbed(model), _calls(list(paths)) as calls:
        run_example(model, example_input)
    owners = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    return [
        _judge(tuple(names), convolution, calls[convolution], rules, owners) for convolution, names in paths.items()
    ]


def _convolutions(model: nn.Module) -> dict[Convolution, list[str]]:
    """Each convolution with all its paths; those inside of kernels are not the network's own."""
    found: dict[Convolution, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Convolution) and KERNEL_ATTRIBUTE not in name.split("."):
            found.setdefault(module, []).append(name)
    return found


@contextmanager
def _calls(convolutions: list[Convolution]) -> Iterator[dict[Convolution, list[Call]]]:
    """Record the shapes of every call."""
    calls: dict[Convolution, list[Call]] = {convolution: [] for convolution in convolutions}

    def record(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> None:
        given = args[0] if args else kwargs["input"]
        calls[module].append((tuple(given.shape), tuple(output.shape)))

    handles = [convolution.register_forward_hook(record, with_kwargs=True) for convolution in convolutions]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _judge(
    names: tuple[str, ...], convolution: Convolution, calls: list[Call], rules: CandidateRules, owners: Counter[int]
) -> Candidate:
    problem = _misfit(convolution, rules) or _misuse(names, convolution, calls)
    if problem is None and owners[id(convolution.weight)] > 1:
        problem = "its weight belongs to another module too"
    if problem is not None:
        return Candidate(names, convolution, problem)
    site = Site(*calls[0][0][1:])
    placeholder = Placeholder().train(convolution.training)
    placeholder.reference = ReferenceConv(convolution.kernel_size[0], convolution.groups)
    return Candidate(names, convolution, f"input and output are {site}", site, placeholder)


def _misfit(convolution: Convolution, rules: CandidateRules) -> str | None:
    """What about the convolution itself keeps a kernel from replacing it."""
    dims, window = len(convolution.kernel_size), "x".join(str(size) for size in convolution.kernel_size)
    if convolution.transposed:
        return "it is transposed"
    if dims > 2:
        return f"it has {dims} spatial dims and kernels have at most 2"
    if rules.spatial_dims not in (None, dims):
        return f"it has {dims} spatial dims and only {rules.spatial_dims} were asked for"
    if max(convolution.stride) > 1:
        return f"its stride is {max(convolution.stride)}"
    if convolution.in_channels != convolution.out_channels:
        return f"it makes {convolution.out_channels} channels of {convolution.in_channels}"
    if len(set(convolution.kernel_size)) > 1:
        return f"its window {window} is not square"
    if convolution.kernel_size[0] < rules.min_kernel_size:
        return f"its window {window} is below min_kernel_size={rules.min_kernel_size}"
    return None


def _misuse(names: tuple[str, ...], convolution: Convolution, calls: list[Call]) -> str | None:
    """What about the use of the convolution keeps a kernel from replacing it."""
    if names[0] == "":
        return "it is the whole model, and nothing holds it"
    if not calls:
        return "it never ran as a module with the example input"
    samples = {shape[1:] for shape, _ in calls}
    if any(len(shape) != len(convolution.kernel_size) + 2 for shape, _ in calls):
        return f"its input of shape {calls[0][0]} has no batch dimension"
    if len(samples) > 1:
        return f"it is called with several sizes ({', '.join(str(list(shape)) for shape in sorted(samples))})"
    given, made = calls[0]
    if given != made:
        return f"it makes {list(made[1:])} of {list(given[1:])}"
    return None
