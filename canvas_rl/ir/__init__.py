"""The kernel graph: structure, verifier, canonical hash, JSON and static cost."""

from canvas_rl.ir.cost import StaticCost, static_cost
from canvas_rl.ir.graph import KernelGraph, Node
from canvas_rl.ir.verify import verify

__all__ = ["KernelGraph", "Node", "StaticCost", "static_cost", "verify"]
