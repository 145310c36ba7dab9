"""Behaviour cloning: a policy learns known programs before it plays."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor

from canvas_rl.space import Limits, SearchSpace
from envs.observation import ObservationEncoder, Vector

_DRAWS = 8
_SURE = 0.5


class Step(NamedTuple):
    """One step of a known program: what is seen, what is legal, and what to do."""

    observation: Vector
    mask: np.ndarray[Any, Any]
    action: int


def demonstrations(space: SearchSpace, program: Sequence[str], rng: np.random.Generator) -> list[Step]:
    """The steps of a program that is legal in the space, under several limits: the widest and some as played with.

    Programs that break the limits drawn are left out.
    """
    encoder = ObservationEncoder(space)
    fewest = space.options.num_primitive_range[0]
    drawn = [replace(space.draw_limits(rng, exact_length=True), min_primitives=fewest) for _ in range(_DRAWS)]
    limits = list(dict.fromkeys([space.widest(), *drawn]))
    return [step for bounds in limits for step in _play(space, encoder, program, bounds)]


def _play(space: SearchSpace, encoder: ObservationEncoder, program: Sequence[str], limits: Limits) -> list[Step]:
    state, steps = space.start(limits), []
    for name in program:
        action, mask = space.actions.index(name), space.mask(state)
        if not mask[action]:
            return []
        steps.append(Step(encoder.encode(state), mask, action))
        state = space.step(state, action)
    return steps


def imitate(
    policy: MaskableActorCriticPolicy,
    steps: Sequence[Step],
    rng: np.random.Generator,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Raise the likelihood of the steps under their masks, by at most `epochs` passes over them.

    It ends once a step is as likely as not: a policy that is sure of known programs explores no more.
    """
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    for _ in range(epochs):
        if certainty(policy, steps) > _SURE:
            break
        order = rng.permutation(len(steps))
        for start in range(0, len(order), batch_size):
            imitate_batch(policy, [steps[index] for index in order[start : start + batch_size]], optimizer)


def imitate_batch(policy: MaskableActorCriticPolicy, steps: Sequence[Step], optimizer: torch.optim.Optimizer) -> None:
    """Raise the likelihood of some steps under their masks by one step of the optimiser."""
    loss = -log_likelihoods(policy, steps).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def certainty(policy: MaskableActorCriticPolicy, steps: Sequence[Step]) -> float:
    """The probability that the policy gives a step (geometric mean)."""
    with torch.no_grad():
        return float(log_likelihoods(policy, steps).mean().exp())


def log_likelihoods(policy: MaskableActorCriticPolicy, steps: Sequence[Step]) -> Tensor:
    """Log-probability of each step's action under its mask, [steps]."""
    observations, masks, actions = (torch.as_tensor(np.stack(part)) for part in zip(*steps, strict=True))
    _, found, _ = policy.evaluate_actions(observations, actions, action_masks=masks)
    return found
