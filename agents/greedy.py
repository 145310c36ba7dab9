"""What the policy builds when it does not explore."""

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents.episodic_ppo import EpisodicPPO
from agents.imitation import Step
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Session
from envs.observation import ObservationEncoder


class GreedyEvaluation(BaseCallback):
    """Every `every` rounds plays the likeliest legal action at each step and logs what the kernel earns.

    It builds under the widest limits. An evaluation is spent only where the kernel is new, which then counts as one of
    the run's and is learned from as any other; else its reward is known already.

    Args:
        session: judges a new kernel and is told the reward as `eval/reward`.
        every: rounds between two plays; 0 for none.
    """

    model: EpisodicPPO

    def __init__(self, session: Session, every: int) -> None:
        super().__init__()
        self._session, self._every = session, every
        self._encoder = ObservationEncoder(session.space)

    def _on_rollout_start(self) -> None:
        if self._every and self.model.rounds and self.model.rounds % self._every == 0:
            graph, steps = self._play()
            history = self.model.history
            if graph.hash not in history.rewards:
                history.learn(graph.hash, self._session.judge([graph])[0], steps)
            self._session.log("eval/reward", history.rewards[graph.hash])

    def _on_step(self) -> bool:
        return True

    def _play(self) -> tuple[KernelGraph, tuple[Step, ...]]:
        space, steps = self._session.space, []
        state = space.start()
        self.model.policy.set_training_mode(False)
        while not state.done:
            observation, mask = self._encoder.encode(state), space.mask(state)
            with torch.no_grad():
                chosen, _, _ = self.model.policy(
                    torch.as_tensor(observation[None]), deterministic=True, action_masks=np.array([mask])
                )
            steps.append(Step(observation, mask, int(chosen)))
            state = space.step(state, int(chosen))
        return space.kernel(state), tuple(steps)
