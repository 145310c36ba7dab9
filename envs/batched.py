"""Many environments in one process whose finished kernels are judged together."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from canvas_rl.errors import ConfigError
from canvas_rl.session import Judge, Outcome
from envs.kernel_construction import KernelConstructionEnv


class BatchedVecEnv(DummyVecEnv):
    """A Stable-Baselines3 `VecEnv` that judges all kernels finished in a step in one batch.

    With `synchronise` an environment whose kernel is finished waits until the others are finished too; then all are
    judged in one batch, and all episodes end in that step. While it waits, its action is ignored (its mask allows
    action 0 alone), its reward is 0 and its info says `waiting`.

    Args:
        makers: functions that make a `KernelConstructionEnv` with `defer=True`.
        judge: turns finished kernels into outcomes; called at most once a step.
        synchronise: see above.
    """

    envs: list[KernelConstructionEnv]  # type: ignore[assignment]

    def __init__(
        self,
        makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]],
        judge: Judge,
        synchronise: bool = False,
    ) -> None:
        super().__init__(list(makers))
        if not all(isinstance(env, KernelConstructionEnv) and env.defer for env in self.envs):
            raise ConfigError("BatchedVecEnv judges kernels itself: make its environments with defer=True, unwrapped")
        self._judge = judge
        self._synchronise = synchronise
        self._finished: dict[int, dict[str, Any]] = {}

    def reset(self) -> Any:
        """Start a new episode in every environment."""
        self._finished.clear()
        return super().reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step the environments that are not waiting; judge when kernels are due."""
        self.buf_rews[:], self.buf_dones[:] = 0, False
        self.buf_infos = [{} for _ in range(self.num_envs)]
        for index in range(self.num_envs):
            if index not in self._finished:
                self._step(index)
        if self._finished and (not self._synchronise or len(self._finished) == self.num_envs):
            self._end_episodes()
        for index in self._finished:
            self.buf_infos[index] = {"waiting": True}
        return self._obs_from_buf(), self.buf_rews.copy(), self.buf_dones.copy(), self.buf_infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of the environments; the masks of waiting ones allow action 0 alone."""
        results = super().env_method(method_name, *args, indices=indices, **kwargs)
        if method_name == "action_masks":
            for position, index in enumerate(self._get_indices(indices)):
                if index in self._finished:
                    results[position] = np.arange(len(results[position])) == 0
        return results

    def _step(self, index: int) -> None:
        observation, reward, terminated, _, info = self.envs[index].step(self.actions[index])
        self._save_obs(index, observation)
        self.buf_infos[index] = info
        if terminated:
            info["TimeLimit.truncated"] = False
            info["terminal_observation"] = observation
            self.buf_rews[index] = reward
            self._finished[index] = info

    def _end_episodes(self) -> None:
        """Judge the finished kernels and reset their environments; illegal endings keep the reward they have."""
        kernels = {index: info["kernel"] for index, info in self._finished.items() if "kernel" in info}
        outcomes = dict(zip(kernels, self._judge(list(kernels.values())), strict=True)) if kernels else {}
        for index, info in self._finished.items():
            outcome = outcomes.get(index, Outcome(float(self.buf_rews[index])))
            info["outcome"] = outcome
            self.buf_infos[index] = info
            self.buf_rews[index] = outcome.reward
            self.buf_dones[index] = True
            observation, self.reset_infos[index] = self.envs[index].reset()
            self._save_obs(index, observation)
        self._finished.clear()
