"""What a search found, as data and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.study.archive import Entry, describe


@dataclass(frozen=True)
class NetworkLatency:
    """Latency of the user's whole network with a kernel in it beside the network as it was, timed in turn."""

    latency_s: float
    reference_latency_s: float

    @property
    def speedup(self) -> float:
        """Latency as it was over latency with the kernel."""
        return self.reference_latency_s / self.latency_s

    def to_json(self) -> dict[str, float]:
        """A JSON-ready dict."""
        return {
            "latency_s": self.latency_s,
            "reference_latency_s": self.reference_latency_s,
            "speedup": self.speedup,
        }


@dataclass(frozen=True)
class Row:
    """One of the best kernels; the network's latency is None where it was not measured."""

    entry: Entry
    network: NetworkLatency | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        path: folder of the run.
        rows: the best kernels, best first; empty if none was measured without failure.
        reference: the replaced convolution.
        reason: why the search ended.
        totals: evaluations, failures by status, store hits, repeats.
    """

    path: Path
    rows: tuple[Row, ...]
    reference: Measurement
    reason: str
    totals: dict[str, Any]

    def __repr__(self) -> str:
        found = "no kernel"
        if self.best is not None:
            found = f"best {self.best.graph.hash[:8]}: {describe(self.best)}, reward {self.best.reward:.3f}"
        return f"SearchResult({str(self.path)!r}, {self.totals['evaluations']} evaluations, {found})"

    @property
    def best(self) -> Entry | None:
        """The best kernel."""
        return self.rows[0].entry if self.rows else None

    def summary(self) -> str:
        """Why the search ended and what it did, in a line or two."""
        counts, ended = self.totals, f"{self.reason[:1].upper()}{self.reason[1:]}."
        if not counts["evaluations"]:
            return f"{ended} No kernel was evaluated before."
        statuses = ", ".join(f"{count} {status}" for status, count in counts["statuses"].items())
        return (
            f"{ended} Kernels: {counts['evaluations']} ({statuses}), of these {counts['store_hits']} from the store; "
            f"{counts['repeats']} repeats on top."
        )

    def table(self, width: int | None = None) -> Table:
        """The best kernels beside the convolution that they replace.

        Args:
            width: columns of text that it may take: as many of the kernels as fit, the best in any case; None for all.
        """
        tables = (self._table(self.rows[:count]) for count in range(len(self.rows), 1, -1))
        fitting = (table for table in tables if width is None or _width(table) <= width)
        return next(fitting, None) or self._table(self.rows[:1])

    def _table(self, rows: Sequence[Row]) -> Table:
        sites = self.reference.sites
        table = Table(title="Best kernels beside the replaced convolution", show_lines=False)
        table.add_column("")
        table.add_column("convolution", justify="right")
        for row in rows:
            table.add_column(row.entry.graph.hash[:8], justify="right")
        measurements = [self.reference, *(row.entry.measurement for row in rows)]
        for index, site in enumerate(sites):
            table.add_row(f"latency {site.site} (ms)", *(_latency(item, index) for item in measurements))
        network = next((row.network for row in rows if row.network), None)
        own = "-" if network is None else f"{network.reference_latency_s * 1e3:.3g}"
        table.add_row("whole network (ms)", own, *(_network(row) for row in rows))
        table.add_row("speedup (geometric mean)", *(number(item.speedup, "{:.2f}x") for item in measurements))
        table.add_row("FLOPs (sum of sites)", *(short_total(item, "flops") for item in measurements))
        table.add_row("parameters (sum of sites)", *(short_total(item, "params") for item in measurements))
        table.add_row("primitives", "-", *(str(row.entry.graph.primitive_count) for row in rows))
        table.add_row("validation accuracy", *(number(item.accuracy, "{:.1%}") for item in measurements))
        table.add_row(
            "test accuracy", *(number(item.test_accuracy, "{:.1%}") for item in measurements), end_section=True
        )
        table.add_row("quality (validation)", *(number(item.quality, "{:.3f}") for item in measurements))
        table.add_row("reward", "-", *(f"{row.entry.reward:.3f}" for row in rows))
        return table


def _width(table: Table) -> int:
    """Columns of text in which nothing of a table is wrapped."""
    return Console(width=1000).measure(table).maximum


def _latency(measurement: Measurement, index: int) -> str:
    figures = measurement.sites[index] if index < len(measurement.sites) else None
    if figures is None or figures.latency_s is None:
        return "-"
    ratio = figures.speedup
    shown = "" if ratio is None or ratio == 1.0 else f" ({ratio:.2f}x)"
    return f"{figures.latency_s * 1e3:.3g}{shown}"


def _network(row: Row) -> str:
    return "-" if row.network is None else f"{row.network.latency_s * 1e3:.3g} ({row.network.speedup:.2f}x)"


def number(value: float | None, form: str) -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None else form.format(value)


def short_total(measurement: Measurement, name: str) -> str:
    """A cost (`flops` or `params`) summed over the sites, such as 40.6M; a dash where it is not known."""
    return short_number(sum(getattr(site, name) for site in measurement.sites)) if measurement.sites else "-"


def short_number(value: float, units: Sequence[str] = ("", "k", "M", "G", "T")) -> str:
    """A number of at most three digits and a unit, such as 40.6M."""
    for unit in units[:-1]:
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{units[-1]}"
