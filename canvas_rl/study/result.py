"""What a search found, as data and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.study.archive import Entry
from canvas_rl.study.verdict import shortfall


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

    def __repr__(self) -> str:
        return f"Row({self.entry})"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        path: folder of the run.
        rows: the best kernels, best first; empty if none was measured without failure.
        reference: the replaced convolution.
        reason: why the search ended.
        totals: evaluations, failures by status, store hits, repeats.
        reference_reward: what the replaced convolution itself would earn.
    """

    path: Path
    rows: tuple[Row, ...]
    reference: Measurement
    reason: str
    totals: dict[str, Any]
    reference_reward: float

    def __repr__(self) -> str:
        found = f"best {self.best}" if self.best else "no kernel"
        return f"SearchResult({str(self.path)!r}, {self.totals['evaluations']} evaluations, {found})"

    @property
    def best(self) -> Entry | None:
        """The best kernel."""
        return self.rows[0].entry if self.rows else None

    @property
    def shortfall(self) -> str | None:
        """A sentence that no kernel beats the replaced convolution, and what to try; None if the best does."""
        best = self.best
        measurement, earned = (best.measurement, best.reward) if best else (None, 0.0)
        return shortfall(measurement, earned, self.reference, self.reference_reward)

    def summary(self) -> str:
        """Why the search ended, what it did and, if so, that no kernel beats the convolution: a line each."""
        counts, ended = self.totals, f"{self.reason[:1].upper()}{self.reason[1:]}."
        if not counts["evaluations"]:
            return f"{ended} No kernel was evaluated before."
        statuses = ", ".join(f"{count} {status}" for status, count in counts["statuses"].items())
        done = (
            f"{ended} Kernels: {counts['evaluations']} ({statuses}), of these {counts['store_hits']} from the store; "
            f"{counts['repeats']} repeats on top."
        )
        return "\n".join(filter(None, (done, self.shortfall)))

    def table(self, width: int | None = None) -> RenderableType:
        """The best kernels beside the convolution that they replace.

        Args:
            width: columns of text that it may take; None for as many as it likes. Where they are too few, kernels'
                latencies are told as ratios to the convolution's; where that does not fit, each has a table of its own.
        """
        for table in (self._table(self.rows), self._table(self.rows, compact=True)):
            if width is None or _width(table) <= width:
                return table
        return Group(*(self._table([row]) for row in self.rows))

    def _table(self, rows: Sequence[Row], compact: bool = False) -> Table:
        sites = self.reference.sites
        table = Table(title="Best kernels beside the replaced convolution", show_lines=False)
        table.add_column("")
        table.add_column("convolution", justify="right")
        for row in rows:
            table.add_column(row.entry.graph.hash[:8], justify="right")
        measurements = [self.reference, *(row.entry.measurement for row in rows)]
        for index, site in enumerate(sites):
            table.add_row(f"latency {site.site} (ms)", *(_latency(item, index, compact) for item in measurements))
        network = next((row.network for row in rows if row.network), None)
        own = "-" if network is None else f"{network.reference_latency_s * 1e3:.3g}"
        table.add_row("whole network (ms)", own, *(_network(row, compact) for row in rows))
        table.add_row("speedup (geometric mean)", *(number(item.speedup, "{:.2f}x") for item in measurements))
        table.add_row("FLOPs (sum of sites)", *(short_total(item, "flops") for item in measurements))
        table.add_row("parameters (sum of sites)", *(short_total(item, "params") for item in measurements))
        table.add_row("primitives", "-", *(str(row.entry.graph.primitive_count) for row in rows))
        table.add_row("validation accuracy", *(number(item.accuracy, "{:.1%}") for item in measurements))
        table.add_row(
            "test accuracy", *(number(item.test_accuracy, "{:.1%}") for item in measurements), end_section=True
        )
        table.add_row("quality (validation)", *(number(item.quality, "{:.3f}") for item in measurements))
        rewards = (self.reference_reward, *(row.entry.reward for row in rows))
        table.add_row("reward", *map("{:.3f}".format, rewards))
        return table


def _width(table: Table) -> int:
    """Columns of text in which nothing of a table is wrapped."""
    return Console(width=1000).measure(table).maximum


def _latency(measurement: Measurement, index: int, compact: bool) -> str:
    figures = measurement.sites[index] if index < len(measurement.sites) else None
    if figures is None or figures.latency_s is None:
        return "-"
    return _milliseconds(figures.latency_s, None if figures.speedup == 1.0 else figures.speedup, compact)


def _network(row: Row, compact: bool) -> str:
    return "-" if row.network is None else _milliseconds(row.network.latency_s, row.network.speedup, compact)


def _milliseconds(latency_s: float, speedup: float | None, compact: bool) -> str:
    """A latency and how often it fits into the convolution's; only the latter if it shall be short."""
    latency = f"{latency_s * 1e3:.3g}"
    if speedup is None:
        return latency
    return f"{speedup:.2f}x" if compact else f"{latency} ({speedup:.2f}x)"


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
