"""The command line: `python -m canvas_rl.report RUN [RUN ...]`, `python -m canvas_rl.report --zoo`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from canvas_rl.command_line import Parser, exit_code
from canvas_rl.errors import ConfigError
from canvas_rl.files import write_text
from canvas_rl.report import gallery_page, read_run, report_page

_DESCRIPTION = """Write one page of HTML about runs (or about the known operators) that opens offline in any browser.

A run is only read, so it may still be going on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for input that can't be used."""
    return exit_code(lambda: _run(parse(arguments)))


def _run(asked: argparse.Namespace) -> None:
    path = _write(asked.runs, asked.zoo, asked.output)
    sys.stdout.write(f"Saved in {path}\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for.

    Raises:
        ConfigError: it can't be understood.
    """
    parser = Parser("python -m canvas_rl.report", _DESCRIPTION)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run, such as runs/my-run")
    parser.add_argument("--zoo", action="store_true", help="a gallery of the known operators instead of runs")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.html",
        help="the page (default: report.html in the run's folder; for several runs here; for --zoo zoo.html here)",
    )
    return parser.read(arguments)


def _write(runs: Sequence[Path], zoo: bool, output: Path | None) -> Path:
    if zoo == bool(runs):
        raise ConfigError("nothing, or too much, was asked for: expected folders of runs, or --zoo")
    if zoo:
        path = output or Path("zoo.html")
        _check_output(path)
        page = gallery_page()
    else:
        path = output or (runs[0] if len(runs) == 1 else Path()) / "report.html"
        found = [read_run(run) for run in runs]  # first: a folder that is no run is no place for a page either
        _check_output(path)
        page = report_page(found, _show)
    write_text(path, page)
    return path


def _check_output(path: Path) -> None:
    """Refuse a place that can't be written before kernels are drawn, which takes minutes."""
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            reason = "it is a folder" if path.is_dir() else None
    except OSError as error:
        reason = error.strerror
    if reason:
        raise ConfigError(
            f"the page {str(path)!r} can't be written ({reason}): name a file in a folder that exists and is writable "
            "with --output"
        )


def _show(items: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress bar on standard error while kernels are drawn; none where there are few, or no terminal."""
    console = Console(stderr=True)
    return track(items, "drawing kernels", total, console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    sys.exit(main())
