"""A zoo of known operators: programs of the kernel language that people designed by hand."""

from canvas_rl.zoo.loading import OPERATORS, build, debug_sample, load, names, operator, pack, program
from canvas_rl.zoo.operator import Operator

__all__ = ["OPERATORS", "Operator", "build", "debug_sample", "load", "names", "operator", "pack", "program"]
