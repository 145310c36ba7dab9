"""MaskablePPO over whole episodes: one kernel of every environment a round, all judged in one batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor, set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.history import History
from agents.imitation import Step, imitate_batch
from agents.local_search import Neighbours

_GROWTH = 1.2
_MOST_ENT_COEF = 1.0
_NEWEST = 0.2
"""Weight of the newest round in the moving average of repeats."""


@dataclass
class _Step:
    """One transition of one environment, as the rollout buffer wants it."""

    observation: np.ndarray[Any, Any]
    action: np.ndarray[Any, Any]
    value: Tensor
    log_prob: Tensor
    mask: np.ndarray[Any, Any]
    given: bool
    """whether the policy had no choice, so that PPO has nothing to learn from the step"""
    reward: float = 0.0


class EpisodicPPO(MaskablePPO):
    """PPO whose rollout is exactly one episode of each environment.

    A kernel's evaluation takes seconds and a step milliseconds, so what matters is that the evaluations of a round
    come in one batch and that their number is known. It needs a `BatchedVecEnv` with `synchronise=True`. Between two
    rounds no episode is under way, and each round draws from generators seeded with (seed, round): the policy, the
    optimiser and the counters are therefore all there is to save.

    Four things answer the collapse onto one kernel. What PPO sees of a reward is the share of the last kernels that
    earned less (0 for a repeat), so that the best still differ from the good. The weight of the entropy grows by a
    fifth each round while too many kernels are repeats, and shrinks back else. The policy imitates the best kernels
    so far, which are many different ones, with some minibatches of an update. And some of a round's programs are not
    its own but neighbours of the best kernels, from which it learns only if they become some of the best. If all of
    that has found nothing better for a while, the policy and its best kernels are given up for fresh ones: rewards
    known from before cost nothing when their kernels are built again.

    Args:
        history: remembers rewards and the best kernels.
        imitation_batches: minibatches of an update that imitate the best kernels.
        target_repeats: share of repeats above which the entropy's weight grows; 0 leaves the weight as it is.
        neighbours: where programs of neighbours come from.
        climbing: share of a round's programs that are neighbours; the first never is.
        patience: kernels without a better one after which it begins anew; 0 for never.
        kwargs: MaskablePPO's arguments.
    """

    ent_coef: float
    batch_size: int
    rounds: int = 0
    """Rounds finished, which is also how often the policy was updated."""
    repeats: float = 0.0
    """Share of repeats in the last rounds: a moving average."""

    def __init__(
        self,
        *args: Any,
        history: History,
        imitation_batches: int,
        target_repeats: float,
        neighbours: Neighbours,
        climbing: float,
        patience: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.history = history
        self._imitation_batches, self._target_repeats = imitation_batches, target_repeats
        self._neighbours, self._climbing, self._patience = neighbours, climbing, patience
        self._least_ent_coef = self.ent_coef

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: Any,
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """Play one episode in every environment; `rollout_buffer` is replaced by one of the right length."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        self._seed_round(env)
        episodes = self._play(env)
        self.num_timesteps += sum(len(episode) for episode in episodes)
        self.rollout_buffer = self._fill(episodes)
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Update the policy from the round's episodes and the best kernels, and record the losses at once."""
        if self._target_repeats:
            self._adapt_entropy()
        super().train()
        if self.history.elite:
            self._imitate()
        if 0 < self._patience <= self.history.stale:
            self._begin_anew()
        self.rounds += 1
        self.logger.record("train/updates", self.rounds)
        self.logger.record("train/ent_coef", self.ent_coef)
        self.logger.dump(self.num_timesteps)

    def _begin_anew(self) -> None:
        """A fresh policy that knows no best kernels."""
        set_random_seed(int(np.random.SeedSequence([self.seed or 0, self.rounds, 2]).generate_state(1)[0]))
        fresh = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = fresh.to(self.device)  # type: ignore[assignment]  # of the same class as before
        self.history.begin_anew()
        self.ent_coef, self.repeats = self._least_ent_coef, 0.0

    def _adapt_entropy(self) -> None:
        factor = _GROWTH if self.repeats > self._target_repeats else 1 / _GROWTH
        self.ent_coef = max(min(self.ent_coef * factor, _MOST_ENT_COEF), self._least_ent_coef)

    def _imitate(self) -> None:
        rng = np.random.default_rng([self.seed or 0, self.rounds])
        for _ in range(self._imitation_batches):
            imitate_batch(self.policy, self.history.draw(rng, self.batch_size), self.policy.optimizer)

    def _seed_round(self, env: VecEnv) -> None:
        first, second = np.random.SeedSequence([self.seed or 0, self.rounds]).generate_state(2)
        set_random_seed(int(first))
        env.seed(int(second))

    def _given(self, env: VecEnv) -> list[list[int]]:
        """For each environment the actions of a neighbour, the last first; none where the policy plays."""
        rng = np.random.default_rng([self.seed or 0, self.rounds, 1])
        drawn = [index > 0 and rng.random() < self._climbing for index in range(env.num_envs)]
        programs = [self._neighbours.draw(rng) if climbs else () for climbs in drawn]
        env.set_options([{"limits": "widest"} if program else {} for program in programs])
        return [list(reversed(program)) for program in programs]

    def _play(self, env: VecEnv) -> list[list[_Step]]:
        given = self._given(env)
        episodes: list[list[_Step]] = [[] for _ in range(env.num_envs)]
        observations = env.reset()
        waiting, over = np.zeros(env.num_envs, dtype=bool), False
        while not over:
            masks = get_action_masks(env)
            before = np.asarray(observations)
            with torch.no_grad():
                tensors = obs_as_tensor(before, self.device)
                actions, values, log_probs = self.policy(tensors, action_masks=masks)
            chosen = actions.cpu().numpy()
            left = [bool(rest) for rest in given]
            chosen[left] = [rest.pop() for rest in given if rest]
            observations, _, dones, infos = env.step(chosen)
            for index in np.flatnonzero(~waiting).tolist():
                seen = before[index], chosen[index], values[index], log_probs[index], masks[index]
                episodes[index].append(_Step(*seen, given=left[index]))
            waiting = np.array([info.get("waiting", False) for info in infos])
            over = bool(dones.all())
        self._remember(episodes, infos)
        return episodes

    def _remember(self, episodes: list[list[_Step]], infos: list[dict[str, Any]]) -> None:
        """Add the round's kernels to the history, then rank their rewards."""
        history, names = self.history, [info["kernel"].hash for info in infos]
        new = []
        for episode, name, info in zip(episodes, names, infos, strict=True):
            steps = tuple(Step(step.observation, step.mask, int(step.action)) for step in episode)
            new.append(history.learn(name, info["outcome"], steps))
        for episode, name, first in zip(episodes, names, new, strict=True):
            episode[-1].reward = history.rank(history.rewards[name]) if first else 0.0
        share = 1 - float(np.mean(new))
        self.repeats += _NEWEST * (share - self.repeats)

    def _fill(self, episodes: list[list[_Step]]) -> MaskableRolloutBuffer:
        episodes = [[step for step in episode if not step.given] for episode in episodes]
        total = sum(len(episode) for episode in episodes)
        buffer = MaskableRolloutBuffer(
            total, self.observation_space, self.action_space, self.device, self.gae_lambda, self.gamma, n_envs=1
        )
        buffer.reset()
        for step, starts in _flatten(episodes):
            buffer.add(
                step.observation[None],
                step.action.reshape(1, 1),
                np.array([step.reward], dtype=np.float32),
                np.array([starts]),
                step.value,
                step.log_prob.reshape(1),
                action_masks=step.mask[None],
            )
        buffer.compute_returns_and_advantage(last_values=torch.zeros(1), dones=np.array([True]))
        # Over the whole round: minibatches of a round this small would each have another idea of what is good.
        buffer.advantages = (buffer.advantages - buffer.advantages.mean()) / (buffer.advantages.std() + 1e-8)
        return buffer


def _flatten(episodes: list[list[_Step]]) -> Iterator[tuple[_Step, bool]]:
    """All steps one after the other, each with whether an episode starts with it."""
    for episode in episodes:
        for position, step in enumerate(episode):
            yield step, position == 0
