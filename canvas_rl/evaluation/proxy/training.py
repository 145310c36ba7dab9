"""Training the backbone with a kernel in its places: what the quality of a kernel is."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from canvas_rl.evaluation.data import Dataset, Split, load_dataset
from canvas_rl.evaluation.proxy.backbone import build_backbone, sample_shape
from canvas_rl.evaluation.proxy.config import ProxyConfig
from canvas_rl.evaluation.proxy.residual import MakeKernel

WARM_UP = 0.25
"""share of the steps in which the learning rate rises"""
MAX_GRADIENT = 1.0
"""norm to which gradients are clipped: kernels differ in scale by orders of magnitude"""
SCORE_BATCH = 250


@dataclass(frozen=True)
class ProxyResult:
    """What training showed; results are equal if all but the time and the network are."""

    accuracy: float
    """share of validation images answered rightly: what a search sees"""
    test_accuracy: float
    """the same for test images: for final tables only"""
    chance: float
    """accuracy of always answering the most common class"""
    quality: float
    """validation accuracy rescaled so that chance is 0 and perfect is 1; 0 if training diverged"""
    curve: tuple[float, ...]
    """after each epoch, how well it answered the training images while it learned them, rescaled like the quality"""
    stopped_early: bool
    """a milestone found the kernel hopeless"""
    diverged: bool
    """the loss became infinite or not a number"""
    seconds: float = field(compare=False)
    """time of building, training and scoring, without loading the data"""
    network: nn.Module = field(compare=False, repr=False)
    """the trained backbone, in evaluation mode, on the device it was trained on"""

    @property
    def epochs_run(self) -> int:
        """Epochs until the end, or until it was stopped."""
        return len(self.curve)


def rescale(accuracy: float, chance: float) -> float:
    """Quality of an accuracy: 0 at chance and below, 1 if perfect."""
    return min(max((accuracy - chance) / (1 - chance), 0.0), 1.0)


def train_proxy(
    make_kernel: MakeKernel,
    config: ProxyConfig | None = None,
    device: str | torch.device = "cpu",
    dataset: Dataset | None = None,
) -> ProxyResult:
    """Train the backbone with a kernel and score it.

    On a CPU the result is the same for the same configuration and number of threads. The caller's random state is
    left as it was. A kernel that diverges ends with `diverged`; one that raises lets the exception through.

    Args:
        make_kernel: gives a new kernel, [N, *site.shape] to the same shape, for a site of the backbone.
        config: data, backbone and schedule; None: the defaults (shifted digits).
        device: where to train; all images are moved there.
        dataset: the loaded data set of `config`; None loads it.

    Raises:
        UnknownNameError: no such data set or backbone.
        DatasetError: the data set can't be loaded.
    """
    config = config or ProxyConfig()
    device = torch.device(device)
    dataset = dataset or load_dataset(config.dataset, config.data_dir, config.data_seed)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        network = build_backbone(config, make_kernel, dataset).to(device)
        outcome = _train(network, dataset, config, device)
    accuracy, test_accuracy = score_network(network, config, dataset, device)
    return ProxyResult(
        accuracy=accuracy,
        test_accuracy=test_accuracy,
        chance=dataset.chance,
        quality=0.0 if outcome.diverged else rescale(accuracy, dataset.chance),
        curve=outcome.curve,
        stopped_early=outcome.hopeless,
        diverged=outcome.diverged,
        seconds=time.perf_counter() - start,
        network=network,
    )


def score_network(
    network: nn.Module,
    config: ProxyConfig | None = None,
    dataset: Dataset | None = None,
    device: str | torch.device = "cpu",
) -> tuple[float, float]:
    """Validation and test accuracy of a trained backbone, which is put into evaluation mode.

    Args:
        network: as `train_proxy` or `build_backbone` gives it, on `device`.
        config: the configuration it was built with; None: the defaults (shifted digits).
        dataset: the loaded data set of `config`; None loads it.
        device: where the network is.
    """
    config = config or ProxyConfig()
    dataset = dataset or load_dataset(config.dataset, config.data_dir, config.data_seed)
    network.eval()
    return _score(network, dataset.validation, config, device), _score(network, dataset.test, config, device)


@dataclass(frozen=True)
class _Outcome:
    curve: tuple[float, ...]
    hopeless: bool = False
    diverged: bool = False


def _train(network: nn.Module, dataset: Dataset, config: ProxyConfig, device: torch.device) -> _Outcome:
    images, labels = _to_device(dataset.train, config, device, config.train_samples)
    batch = min(config.batch_size, len(labels))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * (len(labels) // batch) + 1, pct_start=WARM_UP
    )
    bars = dict(config.milestones)
    curve: list[float] = []
    network.train()
    for epoch in range(1, config.epochs + 1):
        loss_sum, right, seen = torch.zeros((), device=device), torch.zeros((), device=device), 0
        for rows in _batches(len(labels), batch, device):
            loss, scores = _step(network, images[rows], labels[rows], optimizer, config)
            schedule.step()
            loss_sum += loss
            right += (scores.argmax(1) == labels[rows]).sum()
            seen += batch
        curve.append(rescale(float(right) / seen, dataset.chance))
        if not bool(loss_sum.isfinite()):
            return _Outcome(tuple(curve), diverged=True)
        if curve[-1] < bars.get(epoch, 0.0):
            return _Outcome(tuple(curve), hopeless=True)
    return _Outcome(tuple(curve))


def _step(
    network: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, config: ProxyConfig
) -> tuple[Tensor, Tensor]:
    """One step of training: the loss and the class scores before it, both detached."""
    mixed = config.mixed_precision and images.is_cuda
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed):
        scores = network(images)
        loss = F.cross_entropy(scores, labels)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
    optimizer.step()
    return loss.detach(), scores.detach()


def _batches(count: int, batch: int, device: torch.device) -> Iterator[Tensor]:
    """Row numbers of one epoch's full batches, in random order; which rows are left over is random too."""
    order = torch.randperm(count).to(device)
    for start in range(0, count - batch + 1, batch):
        yield order[start : start + batch]


@torch.inference_mode()
def _score(network: nn.Module, split: Split, config: ProxyConfig, device: str | torch.device) -> float:
    images, labels = _to_device(split, config, device)
    right = 0
    for part, answers in zip(torch.split(images, SCORE_BATCH), torch.split(labels, SCORE_BATCH), strict=True):
        scores = network(part)
        # Of scores that are not a number, argmax would still pick a class.
        right += int(((scores.argmax(1) == answers) & scores.isfinite().all(1)).sum())
    return right / len(labels)


def _to_device(
    split: Split, config: ProxyConfig, device: str | torch.device, count: int | None = None
) -> tuple[Tensor, Tensor]:
    channels, height, width = split.images.shape[1:]
    shape = sample_shape((channels, height, width), config.spatial_dims)
    images = torch.from_numpy(split.images[:count]).to(device)
    return images.reshape(-1, *shape), torch.from_numpy(split.labels[:count]).to(device)
