"""The command line: `python -m canvas_rl.train --help`."""

import logging
import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.logging import RichHandler

from canvas_rl.command_line import exit_code, option_names, read_options
from canvas_rl.config import SearchOptions
from canvas_rl.study import (
    QualitySettings,
    RunSettings,
    SearchResult,
    SearchSettings,
    TargetSettings,
    search,
)
from canvas_rl.study.running import resumed_settings

_DESCRIPTION = """Search a kernel that replaces a network's convolutions: faster on this device, as accurate.

While it runs: tensorboard --logdir runs. Ctrl-C ends it with a table; --resume goes on."""


_WIDTH = 120


def parse(arguments: Sequence[str] | None = None) -> SearchSettings:
    """Settings from the command line; with `--resume`, those not given are the run's own.

    Raises:
        CanvasError: a value that can't be used, or no run to resume.
    """
    defaults = SearchSettings()
    groups = (defaults.run, defaults.target, defaults.quality, defaults.space)
    given = read_options(groups, "python -m canvas_rl.train", _DESCRIPTION, arguments)
    if given.get("resume"):
        defaults = resumed_settings(given.get("run_dir"))
    return defaults.replaced(**given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for input that can't be used."""
    console = _console(stderr=True)
    _configure_logging(console)
    names = option_names(RunSettings, TargetSettings, QualitySettings, SearchOptions)
    try:
        return exit_code(lambda: _print(search(parse(arguments), progress=console)), names)
    except KeyboardInterrupt:
        sys.stderr.write("ended at once: a run that had begun goes on with --resume\n")
        return 130


def _print(result: SearchResult) -> None:
    output = _console()
    if result.rows:
        output.print(result.table(output.width))
    output.print(result.summary(), highlight=False, markup=False, soft_wrap=not output.is_terminal)
    output.print(f"Saved in {result.path}", highlight=False, markup=False, soft_wrap=True)


def _console(stderr: bool = False) -> Console:
    """A console; one that is no terminal has room for the table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDTH)


def _configure_logging(console: Console) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if console.is_terminal:  # in a file, lines are neither wrapped nor filled up
        handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("canvas_rl").setLevel(logging.INFO)
    logging.getLogger("canvas_rl.placeholder").setLevel(logging.WARNING)  # its report is long; ours names the sites


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the search listens itself: it cleans up, too
    sys.exit(main())
