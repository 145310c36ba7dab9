from dataclasses import dataclass

import pytest
import torch
from torch import nn

from canvas_rl.errors import ConfigError
from canvas_rl.models.outputs import MainTensor, main_tensor, named_tensors

ONE, TWO = torch.ones(2), torch.zeros(3)


@dataclass
class Scores:
    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...] = ()


@pytest.mark.parametrize(
    "output", [TWO, (TWO, ONE), [None, TWO], {"logits": TWO, "loss": ONE}, Scores(ONE, TWO, (ONE,)), {"a": (TWO,)}]
)
def test_the_main_tensor_is_found(output):
    assert main_tensor(output) is TWO


def test_all_tensors_have_names():
    names = [name for name, _ in named_tensors({"logits": ONE, "states": (ONE, [TWO]), "none": None})]
    assert names == ["logits", "states_0", "states_1_0"]
    assert [name for name, _ in named_tensors(ONE)] == ["output"]


@pytest.mark.parametrize("output", [None, 3, {}, Scores])
def test_outputs_without_a_tensor_are_refused(output):
    with pytest.raises(ConfigError, match="without a tensor"):
        main_tensor(output)


def test_a_network_gives_its_main_tensor():
    class Wrapped(nn.Module):
        def forward(self, x, scale=1):
            return Scores(None, x * scale)

    assert torch.equal(MainTensor(Wrapped())(ONE, scale=3), 3 * ONE)
