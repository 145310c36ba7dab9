"""Find the placeholders of a network and the sizes they have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder.dry_run import ExampleInput, run_example, undisturbed
from canvas_rl.placeholder.placeholder import Placeholder
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites


def get_placeholders(
    m: nn.Module, example_input: ExampleInput | None = None, check_shapes: bool = False
) -> list[Placeholder]:
    """All placeholders of a network, each once, numbered in the order of `m.modules()`.

    Args:
        m: the network.
        example_input: run through the network (in evaluation mode, leaving no trace) to record every placeholder's
            sizes anew; None keeps those recorded before. Kernels in the placeholders don't run.
        check_shapes: refuse placeholders with unknown sizes or with different numbers of spatial dims.

    Raises:
        PlaceholderError: the example can't run, one placeholder sees several sizes in it, or `check_shapes` failed.
    """
    found = [module for module in m.modules() if isinstance(module, Placeholder)]
    for index, placeholder in enumerate(found):
        placeholder.id = index
    m.__dict__["canvas_cached_placeholders"] = found  # scripts written for Canvas read it
    if example_input is not None:
        record_sites(m, found, example_input)
    if check_shapes and found:
        check_sites(recorded_sites(m, found))
    return found


def sites_of(model: nn.Module) -> tuple[tuple[Site, ...], tuple[ReferenceConv, ...]]:
    """The different sites of a network and what is replaced at each.

    Placeholders with the same sizes and the same reference count once; the order is that of their first.

    Raises:
        PlaceholderError: no placeholder, unknown sizes, or different numbers of spatial dims.
    """
    found = get_placeholders(model)
    if not found:
        raise PlaceholderError(
            "the model has no placeholder: put canvas_rl.Placeholder() where a kernel shall be, or call auto_place"
        )
    sites = recorded_sites(model, found)
    check_sites(sites)
    pairs = tuple(dict.fromkeys(zip(sites, (placeholder.reference for placeholder in found), strict=True)))
    return tuple(site for site, _ in pairs), tuple(reference for _, reference in pairs)


def recorded_sites(model: nn.Module, placeholders: Sequence[Placeholder]) -> tuple[Site, ...]:
    """The site of each placeholder.

    Raises:
        PlaceholderError: some have not seen an input; the message names them.
    """
    unknown = [placeholder for placeholder in placeholders if not placeholder.initialized]
    if unknown:
        names = ", ".join(repr(_name(model, placeholder)) for placeholder in unknown)
        raise PlaceholderError(
            f"the sizes of the placeholders {names} are unknown: pass an example_input that runs through them "
            "in evaluation mode"
        )
    return tuple(placeholder.site for placeholder in placeholders)


def record_sites(model: nn.Module, placeholders: Sequence[Placeholder], example_input: ExampleInput) -> None:
    """Run the example and record the sizes of each placeholder; one that doesn't run ends with none.

    Raises:
        PlaceholderError: the example can't run, or one placeholder sees several sizes (a kernel has one).
    """
    with undisturbed(model), _listening(placeholders) as seen:
        for placeholder in placeholders:
            placeholder.clear()
        run_example(model, example_input)
    for placeholder, listener in zip(placeholders, seen, strict=True):
        if len(listener.shapes) > 1:
            shapes = ", ".join(str(list(shape)) for shape in listener.shapes)
            placeholder.clear()
            raise PlaceholderError(
                f"placeholder {_name(model, placeholder)!r} is used with several sizes ({shapes}): "
                "a kernel has one; use a placeholder for each size"
            )


class _Listener(nn.Module):
    """Stands in for a kernel while shapes are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[tuple[int, ...], None] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes[tuple(x.shape[1:])] = None
        return x


@contextmanager
def _listening(placeholders: Sequence[Placeholder]) -> Iterator[list[_Listener]]:
    kernels = [placeholder.canvas_placeholder_kernel for placeholder in placeholders]
    listeners = [_Listener() for _ in placeholders]
    for placeholder, listener in zip(placeholders, listeners, strict=True):
        placeholder.canvas_placeholder_kernel = listener
    try:
        yield listeners
    finally:
        for placeholder, kernel in zip(placeholders, kernels, strict=True):
            placeholder.canvas_placeholder_kernel = kernel


def _name(model: nn.Module, wanted: nn.Module) -> str:
    return next((name for name, module in model.named_modules() if module is wanted), "?")
