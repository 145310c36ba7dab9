import pytest
import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder import (
    Conv2D,
    Placeholder,
    get_placeholders,
    get_state_dict,
    remove_cache,
    replace,
    restore_from_state_dict,
)

KERNEL_KEY = "1.canvas_placeholder_kernel.conv_impl.weight"


def network(filled: bool = True, c: int = 4) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, c, 1), Placeholder(), nn.BatchNorm2d(c))
    get_placeholders(model, torch.zeros(1, 3, 8, 8))
    return replace(model, Conv2D) if filled else model


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_state_dict_is_a_copy_with_or_without_kernels():
    model = network()
    whole, rest = get_state_dict(model), get_state_dict(model, remove_placeholders=True)
    assert equal(whole, model.state_dict())
    assert set(whole) - set(rest) == {KERNEL_KEY}
    nn.init.zeros_(model[0].weight)
    assert whole["0.weight"].any()


def test_a_whole_state_dict_goes_round():
    model, other = network(), network()
    restore_from_state_dict(other, get_state_dict(model), strict=True)
    assert equal(other.state_dict(), model.state_dict())


def test_the_rest_restores_around_other_kernels():
    model, other = network(filled=False), network()
    kernel = other[1].get_kernel().conv_impl.weight.clone()
    restore_from_state_dict(other, get_state_dict(model, remove_placeholders=True))
    assert torch.equal(other[0].weight, model[0].weight)
    assert torch.equal(other[1].get_kernel().conv_impl.weight, kernel)
    with pytest.raises(PlaceholderError, match=f"lacks '{KERNEL_KEY}'"):
        restore_from_state_dict(other, get_state_dict(model), strict=True)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0.weight": torch.zeros(4, 3, 1, 1)}, "lacks '0.bias' and 5 more"),
        (get_state_dict(network(c=5)), "has other sizes for '0.weight' and 6 more"),
        ({**get_state_dict(network()), "9.weight": torch.zeros(1)}, "has unknown '9.weight'"),
    ],
)
def test_another_networks_weights_are_refused_and_nothing_is_loaded(state, message):
    model = network()
    before = get_state_dict(model)
    with pytest.raises(PlaceholderError, match=message):
        restore_from_state_dict(model, state)
    assert equal(model.state_dict(), before)


def test_kernels_weights_need_the_kernel():
    with pytest.raises(PlaceholderError, match="replace the placeholders with the kernel it was saved with"):
        restore_from_state_dict(network(filled=False), get_state_dict(network()))


def test_state_that_is_no_tensor_is_kept():
    class Stateful(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.loaded = state

    model = Stateful()
    restore_from_state_dict(model, get_state_dict(model))
    assert model.loaded == {"steps": 3}


def test_there_is_no_cache_to_remove(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").touch()
    remove_cache()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
