"""A policy that starts as the random agent plays: a family of primitives first, then a template of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableCategorical, MaskableCategoricalDistribution, MaybeMasks
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from canvas_rl.primitives import FAMILIES, FamilyContext
from canvas_rl.space import SearchSpace
from envs.observation import SHOWN_ACTIONS


def rows_of(space: SearchSpace) -> np.ndarray[Any, Any]:
    """For each action the index of its row: a family file of the kernel language, or pushes, or outputs, [actions].

    The space's own families are finer (Canvas's names: each activation is one), so that choosing among them evenly
    would make two actions of five an activation.
    """
    context = FamilyContext(space.options, space.sites[0].spatial_dims, ())
    rows = {template.family: row for row, family in enumerate(FAMILIES) for template in family.templates(context)}
    numbers: dict[int | str, int] = {}
    of_family = [numbers.setdefault(rows.get(name, name), len(numbers)) for name in space.families]
    return np.asarray(of_family)[space.family_of]


class FamilyFirstDistribution(MaskableCategoricalDistribution):
    """A categorical distribution whose zero logits mean: any legal family alike, then any legal template of it alike.

    Templates are many in some families and few in others (Convolution has 50, BAdd one), so equal logits would
    mean almost always a convolution. Each logit is therefore lowered by the logarithm of its family's legal templates.

    Args:
        family_of: the family's index of every action, [actions].
        make_net: makes the network that yields logits; None for a linear layer.
    """

    def __init__(self, family_of: np.ndarray[Any, Any], make_net: Callable[[], nn.Module] | None = None) -> None:
        super().__init__(len(family_of))
        self._make_net = make_net
        self._family_of = torch.as_tensor(np.asarray(family_of), dtype=torch.long)
        self._logits: Tensor | None = None

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        """The network that yields logits from a latent vector."""
        return self._make_net() if self._make_net else super().proba_distribution_net(latent_dim)

    def proba_distribution(self, action_logits: Tensor) -> "FamilyFirstDistribution":
        """Take unmasked logits, [batch, actions]."""
        self._logits = action_logits.view(-1, self.action_dim)
        self.apply_masking(None)
        return self

    def apply_masking(self, masks: MaybeMasks) -> None:
        """Forbid actions and spread every family's weight over those it has left."""
        if self._logits is None:
            raise RuntimeError("apply_masking needs logits: call proba_distribution first")
        if masks is None:
            legal = torch.ones_like(self._logits, dtype=torch.bool)
        else:
            legal = torch.as_tensor(masks, dtype=torch.bool, device=self._logits.device).reshape(self._logits.shape)
        family_of = self._family_of.to(self._logits.device).expand_as(self._logits)
        zeros = torch.zeros_like(self._logits)
        templates = zeros.scatter_add(1, family_of, legal.to(zeros.dtype)).gather(1, family_of)
        logits = self._logits - templates.clamp(min=1).log()
        self.distribution = MaskableCategorical(logits=logits, masks=None if masks is None else legal)


class PlainExtractor(BaseFeaturesExtractor):
    """Leaves out the last actions, whose indices mean nothing to a perceptron.

    Args:
        observation_space: of the `ObservationEncoder`.
    """

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        assert observation_space.shape is not None
        super().__init__(observation_space, observation_space.shape[0] - SHOWN_ACTIONS)

    def forward(self, observations: Tensor) -> Tensor:
        """Features, [batch, features]."""
        return observations[:, : self.features_dim]


class FamilyFirstPolicy(MaskableActorCriticPolicy):
    """SB3's masked actor-critic with a `FamilyFirstDistribution`: a perceptron on the observation's features.

    Args:
        space: the search space whose actions it chooses.
        kwargs: those of SB3's policies.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        space: SearchSpace,
        **kwargs: Any,
    ) -> None:
        self._family_of = rows_of(space)
        kwargs = {"features_extractor_class": PlainExtractor, **kwargs}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        self.action_dist = FamilyFirstDistribution(self._family_of, self._make_action_net)
        super()._build(lr_schedule)

    def _make_action_net(self) -> nn.Module:
        """From the actor's latent to logits."""
        return nn.Linear(self.mlp_extractor.latent_dim_pi, len(self._family_of))
