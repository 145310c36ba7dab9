"""The placeholder: a module that stands where a kernel will be, and knows the sizes it saw there."""

import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder.modules import Identity
from canvas_rl.symbolic.site import ReferenceConv, Site

KERNEL_ATTRIBUTE = "canvas_placeholder_kernel"
"""The child that holds the kernel; part of state-dict keys, so it is Canvas's name."""


class Placeholder(nn.Module):
    """A place for a kernel in a network, for inputs of [N, C], [N, C, H] or [N, C, H, W].

    It gives back its input until `replace` fills it. The first input it sees after its making (or after `clear`)
    fixes its sizes. From then on other channels or another number of dims are refused; the batch may have any size,
    and it is for the kernel to accept another height or width or not.

    Attributes:
        id: position among the placeholders of the network, None before `get_placeholders`.
        initialized: whether the sizes are known.
        spatial_dims: 0, 1 or 2.
        c: channels, 0 while unknown.
        h: height (length in 1-D), 0 while unknown, 1 where the input has none.
        w: width, as `h`.
        reference: the convolution that stood here, to which budgets and speedups are relative.
        canvas_placeholder_kernel: the kernel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.id: int | None = None
        self.reference = ReferenceConv()
        self.clear()
        self.canvas_placeholder_kernel: nn.Module = Identity()

    def clear(self) -> None:
        """Forget the sizes."""
        self.initialized = False
        self.spatial_dims = self.c = self.h = self.w = 0

    def get_kernel(self) -> nn.Module:
        """The kernel, an `Identity` before the first `replace`."""
        return self.canvas_placeholder_kernel

    @property
    def site(self) -> Site:
        """The sizes.

        Raises:
            PlaceholderError: nothing ran through the placeholder yet.
        """
        if not self.initialized:
            raise PlaceholderError(
                f"placeholder {self.id} has not seen an input: run get_placeholders(model, example_input) first"
            )
        return Site(*(self.c, self.h, self.w)[: self.spatial_dims + 1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The kernel applied to `x`; same shape.

        Raises:
            PlaceholderError: `x` has a shape that the placeholder can't have.
        """
        if not self.initialized:
            self._record(tuple(x.shape))
        elif x.dim() != self.spatial_dims + 2 or x.shape[1] != self.c:
            raise PlaceholderError(
                f"placeholder {self.id} is for {self.site} and got an input of shape {tuple(x.shape)}: "
                "channels and the number of dims can't change; run get_placeholders with a new example input"
            )
        out: torch.Tensor = self.canvas_placeholder_kernel(x)
        return out

    def _record(self, shape: tuple[int, ...]) -> None:
        if not 2 <= len(shape) <= 4:
            raise PlaceholderError(
                f"placeholder {self.id} got an input of shape {shape}: expected [N, C], [N, C, H] or [N, C, H, W]"
            )
        site = Site(*shape[1:])
        self.spatial_dims, self.c, self.h, self.w = site.spatial_dims, site.c, site.h or 1, site.w or 1
        self.initialized = True

    def extra_repr(self) -> str:
        """The sizes, for `print(model)`."""
        return str(self.site) if self.initialized else "sizes unknown"
