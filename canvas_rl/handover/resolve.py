"""What a person names on the command line, turned into a kernel and what is known of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from canvas_rl import zoo
from canvas_rl.errors import ConfigError, FormatError, UnknownNameError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.evaluation.subject import Place
from canvas_rl.files import exists, read_json
from canvas_rl.kernels import KernelPack, load_kernel
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.registry import did_you_mean
from canvas_rl.study.loading import best_folder
from canvas_rl.study.verdict import shortfall
from canvas_rl.symbolic.site import ReferenceConv, Site

_WINDOWS = (3, 1, 5, 7, 9, 11)


@dataclass(frozen=True)
class KnownKernel:
    """A kernel and what is known of it.

    Attributes:
        pack: the kernel.
        origin: where it comes from, in a few words.
        places: sites, and the convolution that it replaces at each.
        folder: the `best/` of its run, None for a kernel without a run.
        measurement: how the run measured it, None where that is not known.
        reference: how the run measured the replaced convolution, likewise.
        shortfall: a sentence that the run found no kernel that beats the convolution; None if it did, or not known.
    """

    pack: KernelPack
    origin: str
    places: tuple[Place, ...]
    folder: Path | None = None
    measurement: Measurement | None = None
    reference: Measurement | None = None
    shortfall: str | None = None

    def at(self, sites: Sequence[Site]) -> "KnownKernel":
        """The kernel at other sites, beside 3x3 convolutions; figures of its run are left out where sites differ.

        Raises:
            GraphError: it does not fit a site.
        """
        for site in sites:
            self.pack.graph.check(site)
        known = dict(self.places)
        places = tuple(Place(site, known.get(site, ReferenceConv())) for site in sites)
        if places == self.places:
            return self
        return replace(self, places=places, measurement=None, reference=None, shortfall=None)


def resolve_kernel(name: str, sites: Sequence[Site] = ()) -> KnownKernel:
    """The kernel that a text names.

    Args:
        name: a run, its `best/`, a `kernel.json`, a saved kernel.py, or an operator of the zoo.
        sites: where it is looked at; none for those of its run, else those it was made for, else a ResNet's.

    Raises:
        UnknownNameError: neither a file nor an operator of the zoo.
        FormatError: the file is damaged, or has no kernel.
        GraphError: the kernel does not fit a site.
        PlaceholderError: the operator makes no sense at the sites.
    """
    if not exists(Path(name)):
        return _operator(name, sites)
    pack = load_kernel(name)
    folder = best_folder(name) if Path(name).is_dir() else Path(name).parent
    if (folder / "metrics.json").is_file():
        known = _of_run(pack, folder / "metrics.json")
    else:
        places = tuple(Place(site, ReferenceConv()) for site in pack.graph.sites or DEFAULT_SITES)
        known = KnownKernel(pack, f"from {name}", places)
    return known.at(sites) if sites else known


def parse_site(text: str) -> Site:
    """A site written as its sizes: `64,56,56` (C, H, W), `16,128` (C, H) or `64` (C), or as tables have it: `64@56x56`.

    Raises:
        ConfigError: it is written otherwise.
        PlaceholderError: a size is out of range.
    """
    try:
        sizes = tuple(int(part) for part in re.split("[@x]" if "@" in text else ",", text))
    except ValueError:
        sizes = ()
    if not 1 <= len(sizes) <= 3:
        raise ConfigError(f"the site {text!r} can't be read: expected sizes with commas between, such as 64,56,56")
    return Site(*sizes)


def _operator(name: str, sites: Sequence[Site]) -> KnownKernel:
    if name not in zoo.OPERATORS:
        raise UnknownNameError(
            f"{name!r} is neither a file nor a known operator: expected a run, its best/, a kernel.json, a saved "
            f"kernel.py or a name of docs/zoo.md.{did_you_mean(name, zoo.OPERATORS)}"
        )
    chosen = tuple(sites) or DEFAULT_SITES
    pack = zoo.pack(name, chosen)
    return KnownKernel(pack, f"{name} of the zoo", tuple(Place(site, ReferenceConv()) for site in chosen))


def _of_run(pack: KernelPack, metrics: Path) -> KnownKernel:
    data = read_json(metrics)
    try:
        measurement, reference = (Measurement.from_json(data[part]) for part in ("measurement", "reference"))
        places = _places(data, reference)
        rewards = data["reward"], data.get("reference_reward")  # older runs have the first alone
        missed = None if rewards[1] is None else shortfall(measurement, float(rewards[0]), reference, float(rewards[1]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{str(metrics)!r} is damaged ({error!r}): restore it from where it was saved") from error
    if measurement.kernel != pack.graph.hash:
        raise FormatError(f"{str(metrics)!r} has the figures of another kernel than the kernel.json beside it")
    folder = metrics.parent
    run = folder.parent if folder.name == "best" else folder
    origin = f"the best kernel of {run if run.name else run.resolve()}"
    return KnownKernel(pack, origin, places, folder, measurement, reference, missed)


def _places(data: dict[str, Any], reference: Measurement) -> tuple[Place, ...]:
    if "places" in data:
        return tuple(Place.from_json(place) for place in data["places"])
    return tuple(Place(figures.site, _convolution(figures.site, figures.params)) for figures in reference.sites)


def _convolution(site: Site, params: int) -> ReferenceConv:
    """The convolution with so many weights, dense or depthwise: older runs tell no more of what was replaced."""
    for groups in (1, site.c):
        for window in _WINDOWS:
            if ReferenceConv(window, groups).params(site) == params:
                return ReferenceConv(window, groups)
    return ReferenceConv()
