"""PyTorch source, modules and Graphviz text of a kernel graph."""

from canvas_rl.codegen.dot import to_dot
from canvas_rl.codegen.source import build_module, generate_source, module_class

__all__ = ["build_module", "generate_source", "module_class", "to_dot"]
