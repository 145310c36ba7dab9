"""A benchmark table: every kernel of a small search space with its measurement, in one small file.

The file is gzip over JSON: `format`, `recipe` (how the figures were made), `reference` (the replaced convolution's
measurement) and `columns`, one list a figure with an entry for each kernel; the figures of sites are one list a site.
Latencies are whole nanoseconds, wall times hundredths of a second, noise is the relative standard error of the latency
ratio. Equal content gives equal bytes.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, FormatError
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status, geometric_speedup
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

FORMAT = 1
_COUNTS = ("flops", "params", "activation")
_LATENCIES = ("latency_s", "reference_latency_s")
_SCORES = ("quality", "accuracy", "test_accuracy")
_NANO = 1e9
_DIGITS = 6


@dataclass(frozen=True)
class BenchmarkTable:
    """Kernels of a search space and their measurements.

    Args:
        recipe: how the figures were made; `space_json` gives the part from which the search space is made again.
        reference: the replaced convolution's measurement.
        programs: for each kernel's hash the program that builds it.
        measurements: by the kernel's hash, in the order of the programs.
    """

    recipe: dict[str, Any]
    reference: Measurement
    programs: dict[str, tuple[str, ...]]
    measurements: dict[str, Measurement]

    @cached_property
    def space(self) -> SearchSpace:
        """The search space whose kernels these are."""
        sites, references = zip(*self.recipe["space"]["places"], strict=True)
        return SearchSpace(
            [Site(*shape) for shape in sites],
            SearchOptions.from_json(self.recipe["space"]["options"]),
            [None if reference is None else ReferenceConv(*reference) for reference in references],
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_bytes(gzip.compress(self.content, mtime=0))

    @property
    def content(self) -> bytes:
        """The JSON behind the file."""
        data = {
            "format": FORMAT,
            "recipe": self.recipe,
            "reference": self.reference.to_json(),
            "columns": _columns(self.programs, list(self.measurements.values())),
        }
        return json.dumps(data, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def load(cls, path: Path) -> "BenchmarkTable":
        """Read a file that `save` wrote.

        Raises:
            FormatError: it is missing, damaged or of another version.
        """
        try:
            data = json.loads(gzip.decompress(path.read_bytes()))
        except FileNotFoundError as error:
            raise FormatError(f"the benchmark table {str(path)!r} does not exist") from error
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise FormatError(f"the benchmark table {str(path)!r} can't be read ({error}): it is damaged") from error
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise FormatError(f"the benchmark table {str(path)!r} has format {found}: expected {FORMAT}")
        try:
            reference = Measurement.from_json(data["reference"])
            programs, measurements = _rows(data["columns"], reference)
            return cls(data["recipe"], reference, programs, measurements)
        except (KeyError, IndexError, TypeError, ValueError, CanvasError) as error:
            raise FormatError(f"the benchmark table {str(path)!r} is damaged ({error!r})") from error


def make_table(
    recipe: Mapping[str, Any],
    reference: Measurement,
    kernels: Sequence[KernelGraph],
    measurements: Mapping[str, Measurement],
) -> BenchmarkTable:
    """A table of kernels, with figures rounded as the file has them.

    Raises:
        FormatError: a kernel has no measurement.
    """
    missing = [graph for graph in kernels if graph.hash not in measurements]
    if missing:
        raise FormatError(
            f"{len(missing)} of {len(kernels)} kernels have no measurement, the first of them "
            f"{' '.join(missing[0].program)}: a benchmark table has all"
        )
    programs = {graph.hash: graph.program for graph in kernels}
    columns = _columns(programs, [measurements[kernel] for kernel in programs])
    return BenchmarkTable(dict(recipe), reference, *_rows(columns, reference))


def space_json(
    sites: Sequence[Site], references: Sequence[ReferenceConv | None], options: SearchOptions
) -> dict[str, Any]:
    """The part of a recipe from which `SearchSpace(sites, options, references)` is made again."""
    known = [reference and [reference.kernel_size, reference.groups] for reference in references]
    places = [[list(site.shape), reference] for site, reference in zip(sites, known, strict=True)]
    return {"options": options.to_json(), "places": places}


def _columns(programs: Mapping[str, Sequence[str]], rows: Sequence[Measurement]) -> dict[str, Any]:
    sites = max((len(row.sites) for row in rows), default=0)

    def of_site(name: str, scale: float | None, site: int) -> list[float | None]:
        values = [getattr(row.sites[site], name) if row.sites else None for row in rows]
        return values if scale is None else [None if value is None else round(value * scale) for value in values]

    return {
        "kernel": list(programs),
        "program": [" ".join(program) for program in programs.values()],
        "status": [str(row.status) for row in rows],
        "message": [row.message for row in rows],
        "wall_time_s": [round(row.wall_time_s, 2) for row in rows],
        "noise": [row.environment.get("noise") for row in rows],
        **{name: [_rounded(getattr(row, name)) for row in rows] for name in _SCORES},
        **{name: [of_site(name, None, site) for site in range(sites)] for name in _COUNTS},
        **{name: [of_site(name, _NANO, site) for site in range(sites)] for name in _LATENCIES},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _rows(
    columns: Mapping[str, Any], reference: Measurement
) -> tuple[dict[str, tuple[str, ...]], dict[str, Measurement]]:
    """Programs and measurements of the columns; sites, seed and environment, but for noise, are the reference's."""
    kernels = columns["kernel"]
    texts = ("program", "status", "message", "wall_time_s", "noise")
    short = [name for name in (*texts, *_SCORES) if len(columns[name]) != len(kernels)]
    if short:
        raise ValueError(f"column {short[0]} has not {len(kernels)} entries")
    programs = {kernel: tuple(program.split()) for kernel, program in zip(kernels, columns["program"], strict=True)}
    return programs, {kernel: _measurement(columns, row, reference) for row, kernel in enumerate(kernels)}


def _measurement(columns: Mapping[str, Any], row: int, reference: Measurement) -> Measurement:
    known = columns["flops"] and columns["flops"][0][row] is not None
    sites = tuple(_figures(columns, row, place, item.site) for place, item in enumerate(reference.sites) if known)
    return Measurement(
        kernel=columns["kernel"][row],
        status=Status(columns["status"][row]),
        message=columns["message"][row],
        sites=sites,
        speedup=geometric_speedup(sites),
        environment=_environment(reference, columns["noise"][row]),
        seed=reference.seed,
        wall_time_s=columns["wall_time_s"][row],
        **{name: columns[name][row] for name in _SCORES},
    )


def _environment(reference: Measurement, noise: str | None) -> dict[str, str]:
    described = {name: value for name, value in reference.environment.items() if name not in ("noise", "notes")}
    return described if noise is None else described | {"noise": noise}


def _figures(columns: Mapping[str, Any], row: int, place: int, site: Site) -> SiteFigures:
    counts = {name: columns[name][place][row] for name in _COUNTS}
    seconds = {name: columns[name][place][row] for name in _LATENCIES}
    return SiteFigures(site, **counts, **{name: value and value / _NANO for name, value in seconds.items()})
