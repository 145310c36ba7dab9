"""The command line: `python -m canvas_rl.train --help`."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.logging import RichHandler

from canvas_rl.errors import CanvasError
from canvas_rl.study import SearchSettings, search
from canvas_rl.study.running import resumed_settings

_DESCRIPTION = """Search a kernel that replaces a network's convolutions: faster on this device, as accurate.

While it runs: tensorboard --logdir runs. Ctrl-C ends it with a table; --resume goes on."""


_WIDTH = 120


def parse(arguments: Sequence[str]) -> SearchSettings:
    """Settings from the command line; with `--resume`, those not given are the run's own.

    Raises:
        CanvasError: a value that can't be used, or no run to resume.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--resume", action="store_true")
    first.add_argument("--run-dir", "--run_dir", type=Path)
    known, _ = first.parse_known_args(list(arguments))
    defaults = SearchSettings()
    if known.resume and not {"-h", "--help"} & set(arguments):
        defaults = resumed_settings(known.run_dir)
    return tyro.cli(
        tyro.conf.OmitArgPrefixes[SearchSettings],
        prog="python -m canvas_rl.train",
        description=_DESCRIPTION,
        args=["None" if argument == "none" else argument for argument in arguments],
        default=defaults,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for input that can't be used."""
    console = _console(stderr=True)
    _configure_logging(console)
    try:
        result = search(parse(sys.argv[1:] if arguments is None else arguments), progress=console)
    except CanvasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("ended at once: a run that had begun goes on with --resume\n")
        return 130
    output = _console()
    if result.rows:
        output.print(result.table(output.width))
    output.print(result.summary(), highlight=False, markup=False, soft_wrap=not output.is_terminal)
    output.print(f"Saved in {result.path}", highlight=False, markup=False, soft_wrap=True)
    return 0


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
