"""Fill the placeholders of a network with kernels."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder.discovery import get_placeholders, recorded_sites
from canvas_rl.placeholder.placeholder import Placeholder
from canvas_rl.symbolic.site import Site


class HasModule(Protocol):
    """Anything that carries a kernel class, such as a `KernelPack`."""

    @property
    def module(self) -> Callable[..., nn.Module]:
        """The kernel class."""


def replace(
    m: nn.Module,
    module: Callable[..., nn.Module] | HasModule,
    device: torch.device | str | None = None,
    init_weights_func: Callable[[nn.Module], Any] | None = None,
) -> nn.Module:
    """Put a fresh kernel into every placeholder of a network; all or none.

    Everything else of the network stays as it is: its trained weights, buffers, modes and what is frozen.

    Args:
        m: the network, changed in place. Its placeholders' sizes must be known (`get_placeholders`, `sample` and
            `auto_place` record them).
        module: the kernel class, called with `c`, `h` and `w` by name, as the spatial dims need; or what has it as
            `.module`.
        device: where the kernels go; None is the network's own.
        init_weights_func: applied to every module of each kernel (`init_weights` is Canvas's); None keeps the
            kernel's own variance-preserving start.

    Returns:
        The network itself. Kernels have its floating-point type and its mode.

    Raises:
        PlaceholderError: no placeholder, unknown sizes, or `module` is not a kernel class.
    """
    placeholders = get_placeholders(m)
    if not placeholders:
        raise PlaceholderError(
            "the model has no placeholder to fill: put canvas_rl.Placeholder() where a kernel shall be, "
            "or call auto_place"
        )
    kernel_class = _kernel_class(module)
    own_device, dtype = _device_and_dtype(m, placeholders)
    kernels = [_build(kernel_class, site) for site in recorded_sites(m, placeholders)]
    for placeholder, kernel in zip(placeholders, kernels, strict=True):
        kernel.to(device=device or own_device, dtype=dtype)
        if init_weights_func is not None:
            kernel.apply(init_weights_func)
        kernel.train(placeholder.training)
    for placeholder, kernel in zip(placeholders, kernels, strict=True):
        placeholder.canvas_placeholder_kernel = kernel
    return m


def init_weights(m: nn.Module) -> None:
    """Canvas's initialisation of one module, for `init_weights_func`.

    Linear and convolution weights from a truncated normal (standard deviation 0.02 and 0.1), biases 0, LayerNorm to
    the identity. Other modules, and weights that a kernel holds itself, are left alone.
    """
    if isinstance(m, nn.Linear):
        nn.init.trunc_normal_(m.weight, std=0.02)
    elif isinstance(m, nn.Conv1d | nn.Conv2d):
        nn.init.trunc_normal_(m.weight, std=0.1)
    elif isinstance(m, nn.LayerNorm) and m.elementwise_affine:
        nn.init.ones_(m.weight)
    else:
        return
    if m.bias is not None:
        nn.init.zeros_(m.bias)


def _kernel_class(module: Callable[..., nn.Module] | HasModule) -> Callable[..., nn.Module]:
    if isinstance(module, nn.Module):
        raise PlaceholderError(
            f"a {type(module).__name__} instance was given: expected its class, every placeholder gets a fresh kernel"
        )
    kernel_class = module if isinstance(module, type) else getattr(module, "module", module)
    if not callable(kernel_class):
        raise PlaceholderError(f"{module!r} is no kernel class: expected an nn.Module class or a KernelPack")
    return kernel_class


def _build(kernel_class: Callable[..., nn.Module], site: Site) -> nn.Module:
    sizes = dict(zip("chw", site.shape, strict=False))
    kernel = kernel_class(**sizes)
    if not isinstance(kernel, nn.Module):
        raise PlaceholderError(f"{kernel_class!r} made a {type(kernel).__name__} at {site}: expected an nn.Module")
    return kernel


def _device_and_dtype(
    model: nn.Module, placeholders: list[Placeholder]
) -> tuple[torch.device | None, torch.dtype | None]:
    """Those of the first floating-point tensor that is not a kernel's, else of any; None where there is none."""
    kernels = {id(tensor) for placeholder in placeholders for tensor in _tensors(placeholder)}
    floating = [tensor for tensor in _tensors(model) if tensor.is_floating_point()]
    floating.sort(key=lambda tensor: id(tensor) in kernels)
    return (floating[0].device, floating[0].dtype) if floating else (None, None)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
