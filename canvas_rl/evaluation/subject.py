"""What is evaluated, as JSON that a worker can turn into modules: a kernel graph, or the convolution it replaces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from canvas_rl.ir import StaticCost
from canvas_rl.registry import load_object
from canvas_rl.symbolic.site import ReferenceConv, Site

LOADER = "canvas_rl.evaluation.kernel_subject:load_kernel"


class Place(NamedTuple):
    """Where latency is measured: a site and the convolution that is replaced there."""

    site: Site
    reference: ReferenceConv

    def to_json(self) -> list[Any]:
        """A JSON-ready list; `from_json` is its inverse."""
        return [list(self.site.shape), self.reference.kernel_size, self.reference.groups]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> "Place":
        """A place saved by `to_json`."""
        shape, size, groups = data
        return cls(Site(*shape), ReferenceConv(size, groups))


class Subject(Protocol):
    """Something that can be built and counted at a site."""

    def build(self, site: Site) -> nn.Module:
        """A module with fresh weights from torch's global generator; input and output are [N, *site.shape]."""

    def cost(self, site: Site) -> StaticCost:
        """Its static cost at a site."""

    def at(self, place: Place) -> "Subject":
        """The subject as it is at a place (a kernel is the same everywhere)."""


class ReferenceSubject:
    """The replaced convolutions as a subject.

    Args:
        places: the convolution at each site (the first, should a site have several); 3x3 at every other site.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._references = dict(reversed(places))

    def build(self, site: Site) -> nn.Module:
        """The convolution, without bias."""
        return reference_module(site, self._references.get(site, ReferenceConv()))

    def cost(self, site: Site) -> StaticCost:
        """The convolution's cost."""
        reference = self._references.get(site, ReferenceConv())
        return StaticCost(reference.flops(site), reference.params(site), reference.activation(site))

    def at(self, place: Place) -> "ReferenceSubject":
        """The subject of one place alone."""
        return ReferenceSubject([place])


class PointConv(nn.Module):
    """A grouped linear layer without bias: the convolution of a site without spatial dims."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 1, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C] to [N, C]."""
        return F.conv1d(x.unsqueeze(-1), self.conv.weight, groups=self.conv.groups).squeeze(-1)


def reference_module(site: Site, reference: ReferenceConv) -> nn.Module:
    """The convolution that a kernel replaces at `site`: same padding, no bias."""
    if site.spatial_dims == 0:
        if reference.groups == 1:
            return nn.Linear(site.c, site.c, bias=False)
        return PointConv(site.c, reference.groups)
    kind = nn.Conv1d if site.spatial_dims == 1 else nn.Conv2d
    padding: Any = reference.kernel_size // 2 if reference.kernel_size % 2 else "same"
    return kind(site.c, site.c, reference.kernel_size, padding=padding, groups=reference.groups, bias=False)


def load_subject(spec: Mapping[str, Any]) -> Subject:
    """The subject of a spec made by `kernel_spec` or `reference_spec`."""
    if "references" in spec:
        return ReferenceSubject([Place.from_json(place) for place in spec["references"]])
    loader: Callable[[dict[str, Any]], Subject] = load_object(spec["loader"])
    return loader(spec["graph"])


def kernel_spec(graph: dict[str, Any], loader: str = LOADER) -> dict[str, Any]:
    """JSON of a kernel; `loader` names the function that makes a subject of its graph."""
    return {"loader": loader, "graph": graph}


def reference_spec(places: Sequence[Place]) -> dict[str, Any]:
    """JSON of the replaced convolutions."""
    return {"references": [place.to_json() for place in places]}
