"""The search space: actions, states, legality, budgets, sampling and enumeration."""

from canvas_rl.space.enumeration import enumerate_kernels, every_limits
from canvas_rl.space.search_space import SearchSpace
from canvas_rl.space.state import Limits, State

__all__ = ["Limits", "SearchSpace", "State", "enumerate_kernels", "every_limits"]
