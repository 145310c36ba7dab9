"""The options of the search space: one frozen dataclass that everything shares."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from canvas_rl.errors import ConfigError

Range = tuple[int, int]

MOST_PRIMITIVES = 100
"""No kernel is longer: a search for longer ones would hang rather than find anything."""


def known_options(options: type[Any], data: dict[str, Any], kind: str) -> dict[str, Any]:
    """The saved values of an options dataclass, for its constructor.

    Raises:
        ConfigError: an option that the dataclass does not have.
    """
    unknown = set(data) - {field.name for field in fields(options)}
    if unknown:
        raise ConfigError(f"unknown {kind} option {sorted(unknown)[0]!r}: was it saved by a newer version?")
    return data


@dataclass(frozen=True)
class SearchOptions:
    """What kernels may look like. Names and defaults are Canvas's; budgets are ours.

    Filters are comma-separated, case-insensitive prefixes of primitive names (`conv`, `unfold`, `bmm`).
    """

    allowed_filter: str = ""
    """only these primitives (empty: all)"""
    forbidden_filter: str = ""
    """never these primitives"""
    necessary_filter: str = ""
    """each of these primitives at least once"""
    kernel_sizes: tuple[int, ...] = (3, 5, 7)
    """odd window sizes of Convolution and Unfold"""
    dilated_sizes: tuple[int, ...] = (1, 2, 3)
    """dilations of Convolution and Unfold"""
    shift_sizes: tuple[int, ...] = (1, 2, 3)
    """steps of Shift, used in both directions"""
    num_primitive_range: Range = (5, 25)
    """fewest and most primitives of a kernel; Input, Output and pushes don't count"""
    num_max_width_range: Range = (2, 8)
    """fewest and most tensors alive at once; the sampler draws a limit from it for each kernel"""
    num_weighted_range: Range = (1, 8)
    """fewest and most primitives with learned weights"""
    max_weighted_ratio: float = 0.6
    """largest share of primitives with learned weights"""
    force_bmm_possibility: float = 0.0
    """probability that a kernel must contain a BMM"""
    min_receptive_size: int = 1
    """smallest receptive field, in pixels (height times width of its bounding box)"""
    ensure_spatial_invariance: bool = True
    """the network always runs at its sites' image sizes, so weights may have them (False: any resolution)"""
    flops_budget: float | None = None
    """most FLOPs at every site, as a ratio to the convolution replaced (None: no limit)"""
    params_budget: float | None = None
    """most parameters at every site, as a ratio to the convolution replaced (None: no limit)"""
    memory_budget: float | None = None
    """most activation memory at every site (sum of all outputs), as a ratio to the convolution's output"""
    activation_limit: int = 2**30
    """most bytes of any single float32 activation at batch 128 at any site"""

    def __post_init__(self) -> None:
        for name in ("kernel_sizes", "dilated_sizes", "shift_sizes", *_RANGES):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_ranges(self)
        _check_sizes(self)
        _check_ratios(self)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SearchOptions":
        """Options saved by `to_json`.

        Raises:
            ConfigError: an unknown or unusable option.
        """
        return cls(**known_options(cls, data, "search-space"))


_RANGES = ("num_primitive_range", "num_max_width_range", "num_weighted_range")


def _check_ranges(options: SearchOptions) -> None:
    for name, lowest in zip(_RANGES, (1, 1, 0), strict=True):
        value = getattr(options, name)
        if len(value) != 2 or not all(isinstance(bound, int) for bound in value):
            raise ConfigError(f"{name} is {value}: expected two whole numbers, the least and the most")
        if not lowest <= value[0] <= value[1] <= MOST_PRIMITIVES:
            raise ConfigError(f"{name} is {value}: expected {lowest} <= least <= most <= {MOST_PRIMITIVES}")


def _check_sizes(options: SearchOptions) -> None:
    for name in ("kernel_sizes", "dilated_sizes", "shift_sizes"):
        value = getattr(options, name)
        if any(not isinstance(size, int) or size < 1 for size in value) or len(set(value)) != len(value):
            raise ConfigError(f"{name} is {value}: expected different whole numbers of at least 1")
    even = [size for size in options.kernel_sizes if size % 2 == 0 or size < 3]
    if even:
        raise ConfigError(
            f"kernel_sizes has {even[0]}: expected odd numbers of at least 3 (same padding needs a centre)"
        )


def _check_ratios(options: SearchOptions) -> None:
    for name in ("max_weighted_ratio", "force_bmm_possibility"):
        value = getattr(options, name)
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}: expected a number from 0 to 1")
    for name in ("flops_budget", "params_budget", "memory_budget"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name} is {value}: expected a ratio above 0, such as 0.5, or None")
    if options.min_receptive_size < 1:
        raise ConfigError(f"min_receptive_size is {options.min_receptive_size}: expected at least 1 pixel")
    if options.activation_limit < 1:
        raise ConfigError(f"activation_limit is {options.activation_limit}: expected a number of bytes above 0")
