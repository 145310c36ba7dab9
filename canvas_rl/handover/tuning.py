"""Fine-tuning a network after its convolutions were replaced, with the network as it was for a teacher."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from canvas_rl.errors import ConfigError, EvaluationError, PlaceholderError
from canvas_rl.models.outputs import main_tensor
from canvas_rl.placeholder import get_placeholders
from canvas_rl.placeholder.dry_run import call_arguments, evaluating
from canvas_rl.progress import clock, fitting, view

logger = logging.getLogger(__name__)

Batches = Iterable[Any]
"""Batches of (input, labels), such as a DataLoader gives; an input is a tensor, a tuple or a dict of arguments."""

_WARM_UP = 0.25


@dataclass(frozen=True)
class FineTuneConfig:
    """How a network is fine-tuned."""

    epochs: int = 5
    """passes over the data in which the whole network learns"""
    kernel_epochs: int = 1
    """passes before these in which the kernels alone learn and all other weights stay"""
    learning_rate: float = 1e-3
    """the greatest; it rises for a quarter of a stage and then falls to nearly 0"""
    weight_decay: float = 1e-4
    """of AdamW"""
    distillation: float = 0.5
    """weight of the loss to the teacher's scores; the rest is that of the loss to the labels (0: no teacher)"""
    temperature: float = 4.0
    """by which both networks' scores are divided in the loss to the teacher's"""
    max_gradient: float = 1.0
    """norm to which gradients are clipped"""

    def __post_init__(self) -> None:
        for name in ("epochs", "kernel_epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ConfigError(f"{name} is {value}: expected a whole number of at least 0")
        for name in ("learning_rate", "temperature", "max_gradient"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a number above 0")
        if not self.weight_decay >= 0:
            raise ConfigError(f"weight_decay is {self.weight_decay}: expected a number of at least 0")
        if not 0 <= self.distillation <= 1:
            raise ConfigError(f"distillation is {self.distillation}: expected a number from 0 to 1")


@dataclass(frozen=True)
class FineTuneReport:
    """Shares of inputs answered rightly.

    Attributes:
        before: by the network as it was.
        replaced: by the network with untrained kernels.
        after: by the fine-tuned network.
        curve: after each epoch; those in which the kernels alone learned come first.
    """

    before: float
    replaced: float
    after: float
    curve: tuple[float, ...]

    def __str__(self) -> str:
        return f"accuracy: {self.before:.1%} before, {self.replaced:.1%} replaced, {self.after:.1%} fine-tuned"


def fine_tune(
    network: nn.Module,
    original: nn.Module,
    train: Batches,
    validation: Batches,
    config: FineTuneConfig | None = None,
    *,
    progress: bool | Console = True,
) -> FineTuneReport:
    """Train a network after `replace`, first its kernels alone, then all of it.

    The loss is that of Hinton et al. 2015 (arXiv 1503.02531): `(1 - d) * cross_entropy(scores, labels) + d * T² *
    KL(softmax(teacher / T), softmax(scores / T))`. Weights that don't require gradients never learn. BatchNorm's
    statistics follow the data in both stages, since kernels change what is normalised. Batches are moved to the
    device of the network.

    Args:
        network: with kernels in its placeholders; trained in place, and left in evaluation mode.
        original: the network as it was (`copy.deepcopy` before `auto_place`), the teacher; it is never changed, and
            runs in evaluation mode.
        train: batches of (input, labels) to learn from; gone through once an epoch.
        validation: the same, to count right answers on.
        config: how long and how fast.
        progress: draw a progress bar, on standard error or on a console of yours. True draws none where the log of
            `canvas_rl.handover` is shown at level INFO, which has a line for every epoch.

    Raises:
        PlaceholderError: the network has no placeholder, so there is no kernel to begin with.
        ConfigError: there are no batches, they can be gone through only once, or the network's output has no class
            scores.
        EvaluationError: the loss became infinite or not a number; the network keeps the weights that it had then.
    """
    config = config or FineTuneConfig()
    for batches in (train, validation):
        if iter(batches) is batches:
            raise ConfigError(
                "the batches can be gone through only once: expected a DataLoader or a list, not a generator"
            )
    if not get_placeholders(network):
        raise PlaceholderError("the network has no placeholder: call auto_place and replace before fine_tune")
    with evaluating(original):
        before, replaced = accuracy(original, validation), accuracy(network, validation)
        logger.info("accuracy %.1f%% before, %.1f%% replaced", 100 * before, 100 * replaced)
        kernels = _kernel_weights(network)
        epochs = (config.kernel_epochs if kernels else 0, config.epochs)
        curve: list[float] = []
        with _Course(epochs, _length(train), replaced, _console(progress)) as course:
            with _only(network, kernels):
                curve += _stage(network, original, kernels, (train, validation), config, epochs[0], course)
            learned = [weight for weight in network.parameters() if weight.requires_grad]
            curve += _stage(network, original, learned, (train, validation), config, epochs[1], course)
    return FineTuneReport(before, replaced, curve[-1] if curve else replaced, tuple(curve))


@torch.no_grad()
def accuracy(network: nn.Module, batches: Batches) -> float:
    """The share of inputs whose label has the greatest score; the network is put into evaluation mode.

    Raises:
        ConfigError: there are no batches.
    """
    network.eval()
    device, right, count = _device(network), 0, 0
    for inputs, labels in batches:
        scores = _scores(network, _moved(inputs, device))
        right += int((scores.argmax(1) == labels.to(device)).sum())
        count += len(labels)
    if not count:
        raise ConfigError("there are no batches to count right answers on: expected (input, labels) pairs")
    return right / count


def _stage(
    network: nn.Module,
    teacher: nn.Module,
    weights: list[nn.Parameter],
    data: tuple[Batches, Batches],
    config: FineTuneConfig,
    epochs: int,
    course: "_Course",
) -> Iterator[float]:
    """Train some weights; gives the accuracy after each epoch."""
    if not epochs or not weights:
        return
    train, validation = data
    steps = epochs * course.batches
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps + 1, pct_start=_WARM_UP
    )
    for epoch in range(1, epochs + 1):
        network.train()
        total = torch.zeros((), device=_device(network))
        for batch in train:
            total += _step(network, teacher, batch, optimizer, config)
            nn.utils.clip_grad_norm_(weights, config.max_gradient)
            optimizer.step()
            schedule.step()
            course.learned()
        if not bool(total.isfinite()):
            raise EvaluationError("fine-tuning diverged: the loss is not finite; try a smaller learning_rate")
        right = accuracy(network, validation)
        logger.info(
            "epoch %d of %d: loss %.3f, accuracy %.1f%%", epoch, epochs, float(total) * epochs / steps, 100 * right
        )
        course.validated(right)
        yield right


def _step(
    network: nn.Module, teacher: nn.Module, batch: Any, optimizer: torch.optim.Optimizer, config: FineTuneConfig
) -> Tensor:
    """Gradients of one batch's loss; the loss, detached."""
    device = _device(network)
    inputs, labels = _moved(batch[0], device), batch[1].to(device)
    scores = _scores(network, inputs)
    loss = F.cross_entropy(scores, labels)
    if config.distillation:
        with torch.no_grad():
            wanted = _scores(teacher, _moved(inputs, _device(teacher))).to(device)
        loss = (1 - config.distillation) * loss + config.distillation * distance(scores, wanted, config.temperature)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    return loss.detach()


def distance(scores: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """`T² * KL(softmax(wanted / T), softmax(scores / T))`, the mean over a batch of class scores [N, classes]."""
    own, other = (F.log_softmax(item.float() / temperature, dim=1) for item in (scores, wanted))
    return temperature**2 * F.kl_div(own, other, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class _State:
    """How far fine-tuning is: batches, seconds left, epochs, the newest accuracy."""

    unit: ClassVar[str] = "batch"
    done: int
    total: int
    left_s: float | None
    epoch: str
    accuracy: float

    def words(self, room: int | None = None) -> str:
        """In words, as many as there is room for."""
        parts = [f"{self.done}/{self.total}", f"left {clock(self.left_s)}", self.epoch]
        return fitting([*parts, f"accuracy {self.accuracy:.1%}"], room)


class _Course:
    """Counts batches and epochs, and shows them while it is entered.

    Args:
        epochs: of the kernels alone, and of the whole network.
        batches: in an epoch.
        accuracy: at the beginning.
        console: where to show; None for nowhere.
    """

    def __init__(self, epochs: tuple[int, int], batches: int, accuracy: float, console: Console | None) -> None:
        self.batches = batches
        self._epochs, self._accuracy, self._done = epochs, accuracy, 0
        self._start = time.monotonic()
        self._view = view(console, self._state()) if console is not None and any(epochs) else None

    def __enter__(self) -> "_Course":
        if self._view is not None:
            self._view.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.stop()

    def learned(self) -> None:
        """Another batch was learned from."""
        self._done += 1
        self._show()

    def validated(self, accuracy: float) -> None:
        """The accuracy after an epoch is known."""
        self._accuracy = accuracy
        self._show()

    def _show(self) -> None:
        if self._view is not None:
            self._view.show(self._state())

    def _state(self) -> _State:
        total, elapsed = sum(self._epochs) * self.batches, time.monotonic() - self._start
        epoch = max(self._done - 1, 0) // self.batches + 1  # until the next one's first batch: it is being validated
        kernels = " (kernels alone)" if epoch <= self._epochs[0] else ""
        left = elapsed / self._done * (total - self._done) if self._done else None
        return _State(self._done, total, left, f"epoch {epoch} of {sum(self._epochs)}{kernels}", self._accuracy)


def _console(progress: bool | Console) -> Console | None:
    """Where to show progress: nowhere if that is not wanted, or if the log tells it already."""
    if isinstance(progress, Console):
        return progress
    logged = logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
    return Console(stderr=True) if progress and not logged else None


def _scores(network: nn.Module, inputs: Any) -> Tensor:
    args, kwargs = call_arguments(inputs)
    return main_tensor(network(*args, **kwargs))


def _moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, dict):
        return {name: _moved(value, device) for name, value in inputs.items()}
    return tuple(_moved(value, device) for value in inputs) if isinstance(inputs, list | tuple) else inputs


def _device(network: nn.Module) -> torch.device:
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def _length(batches: Batches) -> int:
    length = getattr(batches, "__len__", None)
    count = length() if length is not None else sum(1 for _ in batches)
    if not count:
        raise ConfigError("there are no batches to learn from: expected (input, labels) pairs")
    return int(count)


def _kernel_weights(network: nn.Module) -> list[nn.Parameter]:
    return [
        weight
        for placeholder in get_placeholders(network)
        for weight in placeholder.get_kernel().parameters()
        if weight.requires_grad
    ]


@contextmanager
def _only(network: nn.Module, weights: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Freeze all other weights for a while."""
    chosen = {id(weight) for weight in weights}
    frozen = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in chosen]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield weights
    finally:
        for weight in frozen:
            weight.requires_grad_(True)
