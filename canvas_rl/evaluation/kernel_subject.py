"""A kernel graph as something to evaluate."""

from typing import Any

from torch import nn

from canvas_rl.codegen import build_module
from canvas_rl.evaluation.subject import Place
from canvas_rl.ir import KernelGraph, StaticCost, static_cost
from canvas_rl.symbolic.site import Site


class KernelSubject:
    """Builds and counts one kernel graph."""

    def __init__(self, graph: KernelGraph) -> None:
        self._graph = graph

    def build(self, site: Site) -> nn.Module:
        """The generated module."""
        return build_module(self._graph, site)

    def cost(self, site: Site) -> StaticCost:
        """The graph's static cost."""
        return static_cost(self._graph, site)

    def at(self, place: Place) -> "KernelSubject":
        """The same kernel: it does not depend on what it replaces."""
        return self


def load_kernel(graph: dict[str, Any]) -> KernelSubject:
    """The subject of a kernel graph's JSON; verifies the graph."""
    return KernelSubject(KernelGraph.from_json(graph))
