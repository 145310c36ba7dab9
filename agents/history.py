"""What the PPO agent remembers of the kernels it was told about: rewards, and the steps that built the best."""

import math
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.imitation import Step
from canvas_rl.session import Outcome

_COMPARED = 1000


class Built(NamedTuple):
    """A kernel, what it earned, and the steps that built it."""

    hash: str
    reward: float
    steps: tuple[Step, ...]


class History:
    """Rewards of kernels, and the `elite_size` best ones, the best first and of equal ones the first found.

    What is remembered can be put aside to begin anew; rewards put aside are known when the kernel is built again, which
    then counts as new.

    The best are the queue of priority queue training (Abolafia et al. 2018, "Neural program synthesis with priority
    queue training"): the policy is trained to build them, beside learning from what it plays.

    Args:
        elite_size: how many of the best are kept.
    """

    def __init__(self, elite_size: int) -> None:
        self._size = elite_size
        self.elite: list[Built] = []
        self.rewards: dict[str, float] = {}
        self.aside: dict[str, float] = {}
        self.stale = 0
        """Kernels since one was better than all before."""
        self._best = -math.inf

    def add(self, built: Built) -> None:
        """Remember a kernel; one without steps can't be imitated and counts for the ranks alone."""
        if built.hash not in self.rewards:
            self.stale = 0 if built.reward > self._best else self.stale + 1
            self._best = max(self._best, built.reward)
            self.rewards[built.hash] = built.reward
            if built.steps:
                self.elite = sorted([*self.elite, built], key=lambda known: -known.reward)[: self._size]

    def learn(self, name: str, outcome: Outcome, steps: tuple[Step, ...]) -> bool:
        """Remember a kernel that was built; False for a repeat, unless it was put aside.

        Args:
            name: its hash.
            outcome: what it earned; of a kernel put aside that is known better.
            steps: those that built it.
        """
        if outcome.repeated and (name in self.rewards or name not in self.aside):
            return False
        self.add(Built(name, self.aside.get(name, outcome.reward), steps))
        return True

    def begin_anew(self) -> None:
        """Put aside what is remembered."""
        self.aside |= self.rewards
        self.rewards, self.elite, self.stale, self._best = {}, [], 0, -math.inf

    def rank(self, reward: float) -> float:
        """The share of the last 1000 kernels that earned less: from 0 to 1, whatever the reward's range."""
        recent = list(islice(reversed(self.rewards.values()), _COMPARED))
        return float(np.mean(np.array(recent) < reward)) if recent else 0.0

    def draw(self, rng: np.random.Generator, count: int) -> list[Step]:
        """Steps of the best kernels, with replacement: each kernel is as likely as any other, however long."""
        chosen = [self.elite[index].steps for index in rng.integers(len(self.elite), size=count)]
        return [steps[rng.integers(len(steps))] for steps in chosen]

    def state(self) -> dict[str, Any]:
        """All but the steps, JSON-ready."""
        return {
            "rewards": dict(self.rewards),
            "aside": dict(self.aside),
            "stale": self.stale,
            "elite": [[built.hash, len(built.steps)] for built in self.elite],
        }

    def tensors(self) -> dict[str, Tensor]:
        """The steps of the best kernels, one after the other."""
        columns = zip(*(step for built in self.elite for step in built.steps), strict=True)
        return dict(zip(Step._fields, (torch.as_tensor(np.array(column)) for column in columns), strict=False))

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take up what `state` and `tensors` returned; a KeyError, TypeError or ValueError says that it did not."""
        self.rewards, self.aside = (
            {str(name): float(reward) for name, reward in state[part].items()} for part in ("rewards", "aside")
        )
        self.stale, self._best = int(state["stale"]), max(self.rewards.values(), default=-math.inf)
        rows = zip(*(tensors[name].numpy() for name in Step._fields), strict=True) if state["elite"] else iter(())
        steps = iter([Step(observation, mask, int(action)) for observation, mask, action in rows])
        self.elite = [
            Built(str(name), self.rewards[name], tuple(islice(steps, int(length)))) for name, length in state["elite"]
        ]
