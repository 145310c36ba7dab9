"""Sampling kernels, with Canvas's signatures."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from torch import nn

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, PlaceholderError
from canvas_rl.kernels.pack import KernelPack
from canvas_rl.placeholder import ExampleInput, get_placeholders, sites_of
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

DEFAULT_SITES = (Site(64, 56, 56), Site(128, 28, 28), Site(256, 14, 14), Site(512, 7, 7))


class _Randomness:
    """The generator that `seed` sets and every later sample draws from."""

    generator = np.random.default_rng()


def seed(value: int) -> None:
    """Make all later samples repeatable: the same seed and calls give the same kernels.

    Raises:
        ConfigError: a negative value.
    """
    if value < 0:
        raise ConfigError(f"the seed is {value}: expected a whole number of at least 0")
    _Randomness.generator = np.random.default_rng(value)


def sample(
    m: nn.Module,
    example_input: ExampleInput | None = None,
    allowed_filter: str = "",
    forbidden_filter: str = "",
    necessary_filter: str = "",
    kernel_sizes: Sequence[int] = (3, 5, 7),
    dilated_sizes: Sequence[int] = (1, 2, 3),
    shift_sizes: Sequence[int] = (1, 2, 3),
    num_primitive_range: tuple[int, int] = (5, 25),
    num_max_width_range: tuple[int, int] = (2, 8),
    num_weighted_range: tuple[int, int] = (1, 8),
    max_weighted_ratio: float = 0.6,
    force_bmm_possibility: float = 0.0,
    min_receptive_size: int = 1,
    ensure_spatial_invariance: bool = True,
    workers: int = 1,
    timeout: float = 0,
) -> KernelPack:
    """Draw a random kernel that is legal at every placeholder of a network.

    `m` is the network, with placeholders; `example_input` is run through it to record their sizes (None reuses those
    recorded before). `timeout` is in seconds, 0 is no limit; `workers` is accepted for Canvas's sake: a kernel takes
    milliseconds and is drawn in this process; `sample_many` draws many in several. All other options are those of
    `SearchOptions`.

    Raises:
        PlaceholderError: no placeholder, unknown sizes, or sites with different numbers of spatial dims.
        ConfigError: an option has an unusable value.
        EmptySpaceError: no kernel can meet the options.
        SamplingTimeout: the timeout passed.
    """
    options = SearchOptions(
        allowed_filter, forbidden_filter, necessary_filter, tuple(kernel_sizes), tuple(dilated_sizes),
        tuple(shift_sizes), num_primitive_range, num_max_width_range, num_weighted_range, max_weighted_ratio,
        force_bmm_possibility, min_receptive_size, ensure_spatial_invariance,
    )  # fmt: skip
    if not get_placeholders(m, example_input, check_shapes=True):
        raise PlaceholderError(
            "the model has no placeholder: put canvas_rl.Placeholder() where a kernel shall be, or call auto_place"
        )
    return _draw(*sites_of(m), options, workers, timeout)


def empty_sample(
    allowed_filter: str = "",
    forbidden_filter: str = "",
    necessary_filter: str = "",
    kernel_sizes: Sequence[int] = (3, 5, 7),
    dilated_sizes: Sequence[int] = (1, 2, 3),
    shift_sizes: Sequence[int] = (1, 2, 3),
    num_primitive_range: tuple[int, int] = (5, 25),
    num_max_width_range: tuple[int, int] = (2, 8),
    num_weighted_range: tuple[int, int] = (1, 8),
    max_weighted_ratio: float = 0.6,
    force_bmm_possibility: float = 0.0,
    min_receptive_size: int = 1,
    ensure_spatial_invariance: bool = True,
    workers: int = 1,
    timeout: float = 0,
) -> KernelPack:
    """Draw a random kernel without a network: it is legal at the sites of a ResNet, 64@56x56 to 512@7x7.

    Options and errors are those of `sample`.
    """
    options = SearchOptions(
        allowed_filter, forbidden_filter, necessary_filter, tuple(kernel_sizes), tuple(dilated_sizes),
        tuple(shift_sizes), num_primitive_range, num_max_width_range, num_weighted_range, max_weighted_ratio,
        force_bmm_possibility, min_receptive_size, ensure_spatial_invariance,
    )  # fmt: skip
    return _draw(DEFAULT_SITES, (ReferenceConv(),) * len(DEFAULT_SITES), options, workers, timeout)


def _draw(
    sites: tuple[Site, ...], references: tuple[ReferenceConv, ...], options: SearchOptions, workers: int, timeout: float
) -> KernelPack:
    if workers < 1:
        raise ConfigError(f"workers is {workers}: expected at least 1")
    if timeout < 0:
        raise ConfigError(f"timeout is {timeout}: expected seconds, or 0 for no limit")
    space = _space(sites, references, options)
    return KernelPack(space.sample(_Randomness.generator, timeout=timeout))


@lru_cache(maxsize=4)
def _space(sites: tuple[Site, ...], references: tuple[ReferenceConv, ...], options: SearchOptions) -> SearchSpace:
    return SearchSpace(sites, options, references)
