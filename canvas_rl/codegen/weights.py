"""Weights of a kernel's module by the node that they belong to, as the interpreter takes them."""

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from canvas_rl.errors import GraphError
from canvas_rl.ir import KernelGraph
from canvas_rl.ir.interpret import Weights, weight_shapes
from canvas_rl.primitives.reference import Array
from canvas_rl.symbolic.site import Site

_NAME = re.compile(r"[a-z]+(\d+)(\.weight)?")


def read_weights(module: nn.Module, graph: KernelGraph, site: Site) -> dict[int, tuple[Array, ...]]:
    """Copies of a module's weights, shaped as the primitives declare them.

    Raises:
        GraphError: the module is not of this kernel at this site.
    """
    shapes = weight_shapes(graph, site)
    return {
        index: (parameter.detach().cpu().numpy().reshape(shapes[index][0]).copy(),)
        for index, parameter in _matched(module, shapes)
    }


def write_weights(module: nn.Module, graph: KernelGraph, site: Site, weights: Weights) -> None:
    """Set a module's weights, in its own precision.

    Raises:
        GraphError: the module is not of this kernel at this site, or `weights` lacks a node.
    """
    shapes = weight_shapes(graph, site)
    if weights.keys() != shapes.keys():
        raise GraphError(f"weights were given for the nodes {sorted(weights)}: the kernel has some at {sorted(shapes)}")
    with torch.no_grad():
        for index, parameter in _matched(module, shapes):
            parameter.copy_(torch.from_numpy(weights[index][0]).reshape(parameter.shape))


def _matched(
    module: nn.Module, shapes: Mapping[int, tuple[tuple[int, ...], ...]]
) -> Iterator[tuple[int, nn.Parameter]]:
    """Each node with weights and its parameter, whose name ends with the node's index.

    A parameter has the sizes that its primitive declares in the same order, but for dims of size 1: the layers of
    torch have a window where FC and 1-D convolutions declare none, or one dim less.
    """
    left = dict(shapes)
    for name, parameter in module.named_parameters():
        match = _NAME.fullmatch(name)
        index = int(match[1]) if match else -1
        declared = left.pop(index, ())
        if [_without_ones(tensor) for tensor in declared] != [_without_ones(parameter.shape)]:
            raise GraphError(
                f"the parameter {name} has the shape {tuple(parameter.shape)}: the kernel declares {declared or 'none'}"
            )
        yield index, parameter
    if left:
        raise GraphError(f"the module has no parameter for node {min(left)} of the kernel, which needs {left}")


def _without_ones(shape: Iterable[int]) -> list[int]:
    return [size for size in shape if size != 1]
