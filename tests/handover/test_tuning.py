import copy
import io
import math

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import canvas_rl
from canvas_rl import zoo
from canvas_rl.errors import ConfigError, EvaluationError, PlaceholderError
from canvas_rl.handover import FineTuneConfig, fine_tune
from canvas_rl.handover.tuning import accuracy, distance
from canvas_rl.placeholder import get_placeholders


class Logits(nn.Module):
    """A classifier whose output is an object with logits, as transformers' are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(4 * 16, 2)

    def forward(self, image):
        return {"hidden": image, "logits": self.head(self.body(image))}


def images(count=128, seed=0):
    """Which half of a small image is brighter."""
    drawn = torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    labels = (drawn[:, :, :2].mean((1, 2, 3)) > drawn[:, :, 2:].mean((1, 2, 3))).long()
    return DataLoader(TensorDataset(drawn, labels), batch_size=32)


def networks(seed=0):
    """A network as it was and with kernels."""
    torch.manual_seed(seed)
    original = Logits()
    network = copy.deepcopy(original)
    canvas_rl.auto_place(network, torch.zeros(1, 1, 4, 4))
    canvas_rl.replace(network, zoo.pack("depthwise_conv3x3", [(4, 4, 4)]))
    return original, network


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_fine_tuning_learns_and_reports_before_replaced_and_after():
    original, network = networks()
    teacher = fine_tuned_teacher(original)
    kept = state(teacher)
    teacher.train()
    report = fine_tune(network, teacher, images(), images(64, 1), FineTuneConfig(8, 2, learning_rate=2e-2))
    assert report.before == accuracy(teacher, images(64, 1))
    assert report.after == report.curve[-1] == accuracy(network, images(64, 1))
    assert report.after > max(report.replaced, 0.8)
    assert len(report.curve) == 10
    assert not network.training
    assert not changed(kept, teacher)
    assert str(report).endswith(f"{report.after:.1%} fine-tuned")


def fine_tuned_teacher(original):
    teacher = copy.deepcopy(original)
    canvas_rl.auto_place(teacher, torch.zeros(1, 1, 4, 4))
    canvas_rl.replace(teacher, zoo.pack("conv3x3", [(4, 4, 4)]))
    fine_tune(teacher, original, images(), images(), FineTuneConfig(8, 0, learning_rate=2e-2, distillation=0.0))
    return teacher


def test_the_teachers_mode_is_as_before():
    original, network = networks()
    original.train()
    original.head.eval()
    fine_tune(network, original, images(32), images(32), FineTuneConfig(0, 1))
    assert original.training
    assert not original.head.training


def test_kernels_alone_learn_first_and_frozen_weights_never():
    original, network = networks()
    before = state(network)
    fine_tune(network, original, images(), images(), FineTuneConfig(epochs=0, kernel_epochs=2))
    kernels = {name for name in before if "canvas_placeholder_kernel" in name}
    assert {name for name in changed(before, network) if "running" not in name and "num_" not in name} == kernels
    assert all(weight.requires_grad for weight in network.parameters())
    network.head.weight.requires_grad_(False)
    before = state(network)
    fine_tune(network, original, images(), images(), FineTuneConfig(epochs=1, kernel_epochs=1))
    assert "head.weight" not in changed(before, network)
    assert "head.bias" in changed(before, network)
    assert not network.head.weight.requires_grad


def test_only_distillation_needs_no_right_labels():
    """With all weight on the teacher, the labels make no difference; with none, the teacher makes none."""
    results = []
    for distillation, labels, teachers in ((1.0, 0, 0), (1.0, 1, 0), (0.0, 0, 0), (0.0, 0, 1)):
        _, network = networks()
        teacher = networks(teachers)[0]
        data = [(image, (label + labels) % 2) for image, label in images()]
        fine_tune(network, teacher, data, images(), FineTuneConfig(1, 0, distillation=distillation))
        results.append(network.head.weight.detach())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[2], results[3])
    assert not torch.equal(results[0], results[2])


def test_the_distance_is_that_of_the_paper():
    scores, wanted, temperature = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 2.0
    soft = [math.exp(0), math.exp(1)]
    teacher = [part / sum(soft) for part in soft]
    hard = [math.exp(0.5), math.exp(0)]
    student = [part / sum(hard) for part in hard]
    expected = 4 * sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))
    assert distance(scores, wanted, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert distance(scores, scores, temperature).item() == pytest.approx(0.0, abs=1e-6)


def test_progress_is_shown_unless_it_is_switched_off_or_logged(capsys, caplog):
    def shown(**options):
        original, network = networks()
        fine_tune(network, original, images(), images(), FineTuneConfig(2, 1), **options)
        return capsys.readouterr().err.splitlines()

    with caplog.at_level("WARNING", "canvas_rl.handover"):  # whatever a search before has set
        lines, hidden = shown(), shown(progress=False)
    assert [line.split()[:2] for line in lines] == [
        ["batch", f"{done}/12"] for done in (2, 3, 4, 5, 6, 8, 9, 10, 11, 12)
    ]
    assert ["epoch 1 of 3 (kernels alone)" in line for line in lines] == [True] * 3 + [False] * 7
    assert "epoch 2 of 3 ·" in lines[3]
    assert "epoch 3 of 3 · accuracy " in lines[-1]
    assert hidden == []
    with caplog.at_level("INFO", "canvas_rl.handover"):
        assert shown() == []
        told = [record.message for record in caplog.records if record.name == "canvas_rl.handover.tuning"]
        assert [message.split(":")[0] for message in told[1:]] == ["epoch 1 of 1", "epoch 1 of 2", "epoch 2 of 2"]
        screen = Console(file=io.StringIO(), width=80)
        assert shown(progress=screen) == []
    assert screen.file.getvalue().splitlines()[-1].startswith("batch 12/12")


def test_a_network_without_placeholders_is_refused():
    with pytest.raises(PlaceholderError, match="call auto_place and replace before"):
        fine_tune(Logits(), Logits(), images(), images())


def test_no_batches_are_refused():
    original, network = networks()
    with pytest.raises(ConfigError, match="no batches to learn from"):
        fine_tune(network, original, [], images(32))
    with pytest.raises(ConfigError, match="no batches to count"):
        fine_tune(network, original, images(32), [])


@pytest.mark.parametrize("position", [0, 1])
def test_batches_that_can_be_gone_through_only_once_are_refused(position):
    original, network = networks()
    data = [images(32), images(32)]
    data[position] = iter(data[position])
    with pytest.raises(ConfigError, match="gone through only once"):
        fine_tune(network, original, *data)


def test_a_loss_that_is_not_finite_ends_it():
    original, network = networks()
    with torch.no_grad():
        network.head.bias[0] = float("inf")
    with pytest.raises(EvaluationError, match="smaller learning_rate"):
        fine_tune(network, original, images(32), images(32))
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", -1), ("kernel_epochs", 1.5), ("learning_rate", 0), ("temperature", -1), ("distillation", 1.1)],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        FineTuneConfig(**{name: value})


@pytest.mark.cuda
def test_batches_follow_the_network_to_the_device():
    original, network = networks()
    report = fine_tune(network.cuda(), original.cuda(), images(), images(), FineTuneConfig(1, 1))
    assert get_placeholders(network)[0].get_kernel().conv1.weight.is_cuda
    assert len(report.curve) == 2
