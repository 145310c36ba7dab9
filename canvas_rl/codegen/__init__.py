"""PyTorch source, modules and Graphviz text of a kernel graph."""

from canvas_rl.codegen.dot import to_dot
from canvas_rl.codegen.source import build_module, generate_source, module_class
from canvas_rl.codegen.weights import read_weights, write_weights

__all__ = ["build_module", "generate_source", "module_class", "read_weights", "to_dot", "write_weights"]
