"""From settings to the things a search works with: the user's network, the sites, the search space, the evaluator."""

import logging
from dataclasses import dataclass

import torch
from torch import nn

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.cost_model import check_libraries
from canvas_rl.evaluation.data import load_dataset
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_sites
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.models import load_model
from canvas_rl.placeholder import ExampleInput, auto_place, sites_of
from canvas_rl.primitives import registered
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import SearchSettings, chosen_workers
from canvas_rl.symbolic.site import ReferenceConv, Site

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The user's network, as it was and with placeholders, and where kernels go in it."""

    original: nn.Module
    placed: nn.Module
    example: ExampleInput
    sites: tuple[Site, ...]
    references: tuple[ReferenceConv, ...]


def load_target(settings: SearchSettings) -> Target:
    """Load the network and put placeholders where it has convolutions.

    Raises:
        UnknownNameError: no such built-in network.
        ConfigError: the factory can't be used.
        PlaceholderError: there is nothing to replace, or places of different kinds.
    """
    torch.manual_seed(settings.run.seed)
    original, example = load_model(settings.target.model)
    torch.manual_seed(settings.run.seed)
    placed, _ = load_model(settings.target.model)
    report = auto_place(placed, example)
    sites, references = sites_of(placed)
    taken, seen = len(report.taken), len(report.placements)
    logger.info("model %s: %d of %d convolutions will be replaced", settings.target.model, taken, seen)
    return Target(original, placed, example, sites, references)


def evaluation_config(settings: SearchSettings, spatial_dims: int) -> EvaluationConfig:
    """How kernels of so many spatial dims are evaluated.

    Raises:
        ConfigError: values that can't be used, or a device that is not there.
        DatasetError: the data set is missing or malformed.
        MissingDependencyError: kernels are to be skipped and scikit-learn is not installed.
    """
    target, quality = settings.target, settings.quality
    device = target.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    latency = LatencyConfig(
        device=device,
        dtype=target.dtype,
        batch_size=target.batch_size,
        channels_last=target.channels_last,
        mode=target.latency,
    )
    latency.check_device()
    if settings.run.skip_slower is not None:
        check_libraries()
    data_dir = None if quality.data_dir is None else str(quality.data_dir)
    proxy = ProxyConfig.for_dataset(quality.dataset, data_dir=data_dir, spatial_dims=spatial_dims)
    load_dataset(quality.dataset, data_dir, proxy.data_seed)
    workers = chosen_workers(settings.run.workers, device)
    return EvaluationConfig(latency=latency, proxy=proxy, workers=workers, skip_slower=settings.run.skip_slower)


def make_space(settings: SearchSettings, target: Target, config: EvaluationConfig) -> SearchSpace:
    """The search space: kernels legal at the network's sites, where budgets count, and at those of the proxy backbone.

    Raises:
        EmptySpaceError: no kernel can meet the options.
        ConfigError: it has a primitive that the workers would not know.
    """
    proxies = [site for site in proxy_sites(config.proxy) if site not in target.sites] if config.proxy else []
    references = (*target.references, *[None] * len(proxies))
    space = SearchSpace((*target.sites, *proxies), settings.space, references)
    unknown = sorted(set(space.families).intersection(registered()))
    if unknown:
        raise ConfigError(
            f"the primitive {unknown[0]!r} is registered in this process alone, and kernels are evaluated in others: "
            "give its family a line in FAMILIES of canvas_rl/primitives/__init__.py, or forbid it with forbidden_filter"
        )
    network, proxy = (", ".join(map(str, sites)) or "none" for sites in (target.sites, proxies))
    logger.info(
        "search space: %d actions; sites %s; those of quality's small network: %s", len(space.actions), network, proxy
    )
    return space


def make_evaluator(target: Target, config: EvaluationConfig, store_url: str) -> KernelEvaluator:
    """The evaluator of real searches, with its store.

    Raises:
        StoreError: the store can't be opened.
    """
    return KernelEvaluator(target.sites, target.references, config, MeasurementStore(store_url))
