"""Static cost against what the interpreter counts and what torch sees, over random kernels.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

import re
import sys
from collections import Counter
from math import prod
from typing import Any

import torch
from drawing import Drawn, for_all, kernels
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from canvas_rl.codegen import build_module, generate_source, read_weights
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.ir.interpret import Interpretation, interpret, weight_shapes
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.mix import Mix
from canvas_rl.symbolic.binding import Binding

BATCH = 2


def batch(drawn: Drawn) -> torch.Tensor:
    return torch.randn(BATCH, *drawn.site.shape, generator=torch.Generator().manual_seed(drawn.seed))


def run_both(drawn: Drawn) -> tuple[Interpretation, int]:
    """What the interpreter counts, and the FLOPs that torch counts, of one batch."""
    module, x = build_module(drawn.graph, drawn.site), batch(drawn)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    weights = read_weights(module, drawn.graph, drawn.site)
    return interpret(drawn.graph, drawn.site, x.numpy(), weights), counter.get_total_flops()


def mixes_of_one_element(drawn: Drawn) -> int:
    """FLOPs of each Mix that contracts dims of size 1 alone: of it torch makes a product, which it does not count."""
    flops, binding = 0, Binding((drawn.site,), spatial_fixed=True)
    for index, node in enumerate(drawn.graph.nodes):
        shapes = drawn.graph.input_shapes(index)
        if isinstance(node.primitive, Mix) and binding.integers(node.primitive.weights(shapes)[0].fan_in) == (1,):
            flops += sum(sum(binding.integers(size) or ()) for size in node.primitive.flops(shapes, node.shape))
    return flops


def test_flops_are_those_that_the_interpreter_and_torch_count(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        counted, seen = run_both(drawn)
        assert counted.flops == BATCH * static_cost(drawn.graph, drawn.site).flops
        assert seen == counted.contracted - BATCH * mixes_of_one_element(drawn)


def test_parameters_are_those_of_the_module(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        module = build_module(drawn.graph, drawn.site)
        params = static_cost(drawn.graph, drawn.site).params
        assert params == sum(parameter.numel() for parameter in module.parameters())
        assert params == sum(prod(s) for tensors in weight_shapes(drawn.graph, drawn.site).values() for s in tensors)
        assert not list(module.buffers())


class LastOutputs(TorchDispatchMode):
    """Keeps the bytes of the last tensor that torch makes for each primitive: its output."""

    def __init__(self, graph: KernelGraph) -> None:
        super().__init__()
        self.file, self.lines = f"<{graph.name}>", generate_source(graph).splitlines()
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        frame = sys._getframe()
        while frame.f_code.co_filename != self.file:
            assert frame.f_back is not None
            frame = frame.f_back
        target = re.match(r" +t(\d+) = ", self.lines[frame.f_lineno - 1])
        if target is not None:
            self.sizes[int(target[1])] = result.numel() * result.element_size()
        return result


def test_activation_bytes_are_those_of_all_outputs(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        graph, module, x = drawn.graph, build_module(drawn.graph, drawn.site), batch(drawn)
        with LastOutputs(graph) as seen, torch.no_grad():
            module(x)
        for index, node in enumerate(graph.nodes[1:-1], start=1):
            if index not in seen.sizes:  # all of C as G: the same tensor by another name
                assert isinstance(node.primitive, Group)
                operand = node.inputs[0]
                seen.sizes[index] = seen.sizes[operand] if operand else x.nbytes
        assert sum(seen.sizes.values()) == 4 * BATCH * static_cost(graph, drawn.site).activation
        weights = read_weights(module, graph, drawn.site)
        values = interpret(graph, drawn.site, x.numpy(), weights).values
        assert [value.nbytes for value in values[1:-1]] == [seen.sizes[index] for index in sorted(seen.sizes)]
