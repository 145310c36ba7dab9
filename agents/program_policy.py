"""A policy made for programs: actions are read and scored by the parts of their names, the program by a GRU."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.policy import FamilyFirstPolicy
from canvas_rl.space import SearchSpace
from envs.observation import SHOWN_ACTIONS, SHOWN_TENSORS, TENSOR_FEATURES

_PART = re.compile(r"[^(),]+")
_WIDTH, _MEMORY = 32, 64


def parts_of(names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Which parts every action's name has, [actions, parts], each row's sum being 1.

    `conv(3x1,d2,C)` has the parts conv, 3x1, d2 and C, and shares each with other actions; its whole name is one more
    part, of its own.
    """
    parts = [[*_PART.findall(name), f"whole {name}"] for name in names]
    index = {part: place for place, part in enumerate(dict.fromkeys(part for row in parts for part in row))}
    table = np.zeros((len(names), len(index)), dtype=np.float32)
    for row, found in zip(table, parts, strict=True):
        row[[index[part] for part in found]] = 1 / len(found)
    return table


class ActionEmbedding(nn.Module):
    """A vector for every action: the mean of those of its name's parts.

    Args:
        parts: see `parts_of`.
    """

    _parts: Tensor

    def __init__(self, parts: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.register_buffer("_parts", torch.as_tensor(parts), persistent=False)
        self.weight = nn.Parameter(torch.randn(parts.shape[1], _WIDTH))

    def forward(self) -> Tensor:
        """All vectors, [actions, width]."""
        vectors: Tensor = self._parts @ self.weight
        return vectors


class ProgramExtractor(BaseFeaturesExtractor):
    """Embeds the stack's tensors, each with the same weights, and reads the last actions with a GRU.

    Both end the observation, and what comes before is taken as it is.

    Args:
        observation_space: of the `ObservationEncoder`.
        parts: see `parts_of`.
    """

    def __init__(self, observation_space: spaces.Space[Any], parts: np.ndarray[Any, Any]) -> None:
        assert observation_space.shape is not None
        self._plain = observation_space.shape[0] - SHOWN_ACTIONS - SHOWN_TENSORS * TENSOR_FEATURES
        super().__init__(observation_space, self._plain + SHOWN_TENSORS * _WIDTH + _MEMORY)
        self._actions = len(parts)
        self._tensor = nn.Linear(TENSOR_FEATURES, _WIDTH)
        self._embedding = ActionEmbedding(parts)
        self._gru = nn.GRU(_WIDTH, _MEMORY, batch_first=True)

    def forward(self, observations: Tensor) -> Tensor:
        """Features, [batch, features]."""
        places = (observations[:, -SHOWN_ACTIONS:] * self._actions).round().long()  # 0 is no action; the last first
        tensors = observations[:, self._plain : -SHOWN_ACTIONS].reshape(-1, SHOWN_TENSORS, TENSOR_FEATURES)
        embedded: Tensor = self._tensor(tensors).relu()
        vectors = nn.functional.pad(self._embedding(), (0, 0, 1, 0))[places.flip(1)]
        states, _ = self._gru(vectors)
        return torch.cat([observations[:, : self._plain], embedded.flatten(1), states[:, -1]], dim=1)


class ActionScores(nn.Module):
    """Logits of actions: how well what the state asks for fits each action's vector.

    Args:
        width: of the state.
        parts: see `parts_of`.
    """

    def __init__(self, width: int, parts: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self._query = nn.Linear(width, _WIDTH)
        self._embedding = ActionEmbedding(parts)

    def forward(self, latent: Tensor) -> Tensor:
        """Logits, [batch, actions]."""
        logits: Tensor = self._query(latent) @ self._embedding().T
        return logits


class ProgramPolicy(FamilyFirstPolicy):
    """A `FamilyFirstPolicy` that reads the program so far and scores actions by the parts of their names.

    Args:
        space: the search space whose actions it chooses.
        kwargs: those of SB3's policies.
    """

    def __init__(self, *args: Any, space: SearchSpace, **kwargs: Any) -> None:
        self._parts = parts_of(space.actions)
        extractor = {"features_extractor_class": ProgramExtractor, "features_extractor_kwargs": {"parts": self._parts}}
        super().__init__(*args, space=space, **{**kwargs, **extractor})

    def _make_action_net(self) -> nn.Module:
        return ActionScores(self.mlp_extractor.latent_dim_pi, self._parts)
