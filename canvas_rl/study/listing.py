"""The best kernels as a Markdown table."""

from collections.abc import Sequence

from canvas_rl.study.archive import Entry
from canvas_rl.study.result import number, short_total

_ROWS = 10
_COLUMNS = ("rank", "kernel", "speedup", "quality", "FLOPs", "parameters", "primitives", "reward")


def markdown_table(entries: Sequence[Entry]) -> str:
    """The first ten of some kernels, best first, one a row; FLOPs and parameters are summed over the sites."""
    rows = [_COLUMNS, tuple("---:" if name != "kernel" else ":---" for name in _COLUMNS)]
    rows += [_row(rank, entry) for rank, entry in enumerate(entries[:_ROWS], start=1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(rank: int, entry: Entry) -> tuple[str, ...]:
    figures = entry.measurement
    return (
        str(rank),
        entry.graph.hash[:8],
        number(figures.speedup, "{:.2f}x"),
        number(figures.quality, "{:.3f}"),
        short_total(figures, "flops"),
        short_total(figures, "params"),
        str(entry.graph.primitive_count),
        f"{entry.reward:.3f}",
    )
