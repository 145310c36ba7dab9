"""Wrappers of the environment for libraries with other habits."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from envs.observation import Vector


class DictMaskObservation(gymnasium.ObservationWrapper[dict[str, Any], np.int64, Vector]):
    """Observations become `{"observation": ..., "action_mask": ...}`, as RLlib and others expect.

    The mask is int8, [actions]: 1 is legal. The method `action_masks` is still there.

    Args:
        env: a `KernelConstructionEnv`, wrapped or not.
    """

    def __init__(self, env: gymnasium.Env[Vector, np.int64]) -> None:
        super().__init__(env)
        actions = int(env.action_space.n)  # type: ignore[attr-defined]
        self.observation_space = Dict(
            {"observation": env.observation_space, "action_mask": Box(0, 1, (actions,), np.int8)}
        )

    def observation(self, observation: Vector) -> dict[str, Any]:
        """The observation together with the mask of the present state."""
        return {"observation": observation, "action_mask": self.action_masks().astype(np.int8)}

    def action_masks(self) -> np.ndarray[Any, Any]:
        """Which actions are legal now."""
        masks: np.ndarray[Any, Any] = self.env.get_wrapper_attr("action_masks")()
        return masks
