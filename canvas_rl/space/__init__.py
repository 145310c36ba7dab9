"""The search space: actions, states, legality, budgets and sampling."""

from canvas_rl.space.search_space import SearchSpace
from canvas_rl.space.state import Limits, State

__all__ = ["Limits", "SearchSpace", "State"]
