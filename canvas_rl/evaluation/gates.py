"""Gates: what a kernel must do at every site before time is spent on it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.symbolic.site import Site

GATE_BATCH = 2
_SAME = 1e-4
_CHANGED = 1e-6
_EMPTY = {getattr(torch.ops.aten, name) for name in ("empty", "empty_like", "empty_strided", "new_empty")}


def check_gates(build: Callable[[Site], nn.Module], sites: Sequence[Site], device: str = "cpu", seed: int = 0) -> None:
    """Run a fresh module at every different site, forward and backward, with a batch of two.

    Raises:
        Rejection: with the status of the first gate that a site fails.
    """
    for site in dict.fromkeys(sites):
        module = _build(build, site).to(device)
        try:
            _check_site(module, site, device, seed)
        except Rejection as rejection:
            raise Rejection(rejection.status, f"at site {site} {rejection.message}") from rejection


def _build(build: Callable[[Site], nn.Module], site: Site) -> nn.Module:
    try:
        return build(site)
    except (MemoryError, Rejection):
        raise
    except Exception as error:
        raise Rejection(Status.BUILD_FAILED, f"building the module for site {site} raised {error!r}") from error


def _check_site(module: nn.Module, site: Site, device: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second, third, fourth = torch.randn(4, *site.shape, generator=generator).to(device)
    inputs = torch.stack([first, second]).requires_grad_()
    outputs = module(inputs)
    _check_outputs(outputs, inputs)
    _check_gradients(module, inputs, outputs)
    with torch.no_grad():
        outputs = outputs.detach()
        _check_repeats(module(torch.stack([first, second])), outputs)
        _check_samples(outputs, module(torch.stack([third, second])), changed=0)
        _check_samples(outputs, module(torch.stack([first, fourth])), changed=1)
        _check_work(module, torch.stack([third, fourth]))


def _check_outputs(outputs: torch.Tensor, inputs: torch.Tensor) -> None:
    if not isinstance(outputs, torch.Tensor) or outputs.shape != inputs.shape:
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise Rejection(Status.WRONG_SHAPE, f"the output is {shape} for an input of {tuple(inputs.shape)}")
    if not bool(torch.isfinite(outputs).all()):
        raise Rejection(Status.NOT_FINITE, "the output is not finite")
    spread = outputs.max() - outputs.min()
    if not bool(spread > _CHANGED * outputs.abs().max()):
        raise Rejection(Status.CONSTANT_OUTPUT, f"the output is constant ({float(outputs.detach().flatten()[0]):.3g})")


def _check_gradients(module: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
    weights = dict(module.named_parameters())
    # Random signs: a plain sum has no gradient behind a softmax or a mean-free output.
    signs = torch.empty_like(outputs).bernoulli_(generator=_generator(outputs)).mul_(2).sub_(1)
    if outputs.requires_grad:
        torch.autograd.backward((outputs * signs).sum())
    if inputs.grad is None:
        raise Rejection(Status.IGNORES_INPUT, "no gradient reaches the input")
    for name, gradient in [("the input", inputs.grad)] + [(name, weight.grad) for name, weight in weights.items()]:
        if gradient is None or not bool(gradient.any()):
            status = Status.IGNORES_INPUT if gradient is inputs.grad else Status.DEAD_WEIGHT
            raise Rejection(status, f"{name} gets no gradient")
        if not bool(torch.isfinite(gradient).all()):
            raise Rejection(Status.NOT_FINITE, f"the gradient of {name} is not finite")


def _generator(tensor: torch.Tensor) -> torch.Generator:
    return torch.Generator(tensor.device).manual_seed(0)


def _check_repeats(again: torch.Tensor, outputs: torch.Tensor) -> None:
    if _difference(again, outputs) > _SAME:
        raise Rejection(Status.NOT_REPEATABLE, "the same input gave two different outputs")


def _check_work(module: nn.Module, inputs: torch.Tensor) -> None:
    """New inputs twice, in evaluation mode, as they are timed: all the work must be done both times.

    Memory that PyTorch hands out without writing to it is filled with NaN meanwhile.
    """
    module.eval()
    with _Watched() as first:
        outputs = module(inputs)
    with _Watched() as second:
        module(inputs)
    module.train()
    if not bool(torch.isfinite(outputs).all()):
        raise Rejection(Status.UNINITIALISED, "the output depends on memory that nothing was written to")
    if second.operations < first.operations:
        raise Rejection(
            Status.SKIPS_WORK,
            f"it ran {first.operations} operations for new inputs and {second.operations} for the same again",
        )


class _Watched(TorchDispatchMode):
    """Counts the operations that PyTorch runs and fills empty tensors with NaN."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _EMPTY and result.is_floating_point():
            result.fill_(torch.nan)
        return result


def _check_samples(outputs: torch.Tensor, other: torch.Tensor, changed: int) -> None:
    """One sample of the batch was changed: its own output must change, the other sample's must not."""
    kept = 1 - changed
    if _difference(other[kept], outputs[kept]) > _SAME:
        raise Rejection(Status.MIXES_SAMPLES, f"sample {changed} of a batch changes the output of sample {kept}")
    if not _difference(other[changed], outputs[changed]) > _CHANGED:
        raise Rejection(Status.IGNORES_INPUT, "the output does not change with the input")


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, relative to the largest element."""
    return float((one - other).abs().max() / other.abs().max().clamp_min(torch.finfo(other.dtype).tiny))
