"""Checks of shell commands without running them: is there such a script, module or target, and has it such options?"""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from canvas_rl.export import parse as parse_export
from canvas_rl.report.__main__ import parse as parse_report
from canvas_rl.show import parse as parse_show
from canvas_rl.train import parse as parse_search

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("pip", "tensorboard", "cd", ".", "pre-commit", "apt")
"""Programs that are not ours: nothing is checked of them."""
_TARGETS = frozenset(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_PARSERS = {
    "canvas_rl.export": parse_export,
    "canvas_rl.report": parse_report,
    "canvas_rl.show": parse_show,
    "canvas_rl.train": parse_search,
}
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


class _Parsed(Exception):
    """The arguments of a script were understood."""


@contextmanager
def _stop_when_parsed(arguments: list[str]):
    """Let scripts that read their command line with argparse do that, and no more."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *given, **named):
        original(self, *given, **named)
        raise _Parsed

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_args),
        mock.patch.object(sys, "argv", arguments),
    ):
        try:
            yield
        except _Parsed:
            return
        except SystemExit as error:
            raise AssertionError(f"{shlex.join(arguments)} is refused (see standard error)") from error
    raise AssertionError(f"{arguments[0]} never reads its arguments")


def check_shell(code: str) -> None:
    """Check the syntax of a shell block, then each of its commands."""
    subprocess.run(["bash", "-n"], input=code, text=True, check=True)
    for line in code.replace("\\\n", " ").splitlines():
        words = _words(line)
        while words:
            end = next((i for i, word in enumerate(words) if set(word) <= set("&|;")), len(words))
            check_command(words[:end])
            words = words[end + 1 :]


def _words(line: str) -> list[str]:
    """The words and separators of a line, comments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    return list(lexer)


def check_command(words: list[str]) -> None:
    """Check one command, given as its words."""
    while _ASSIGNMENT.match(words[0]):
        words = words[1:]
    words = words[: words.index(">")] if ">" in words else words
    program, *arguments = words
    if program == "make":
        targets = [word for word in arguments if not _ASSIGNMENT.match(word)]
        assert set(targets) <= _TARGETS, f"the Makefile has no target {targets}"
    elif program == "bash":
        assert (ROOT / arguments[0]).is_file(), words
    elif Path(program).name == "python":
        check_python(arguments)
    else:
        assert program in OTHERS, f"unknown program {program!r}: add it to OTHERS, or check it"


def check_python(arguments: list[str]) -> None:
    """Check what follows `python`: one of our modules, or a script of the repository, with options that it has."""
    if arguments[0] != "-m":
        script = ROOT / arguments[0]
        assert script.is_file(), f"there is no script {arguments[0]}"
        if script.parent.name == "experiments":
            with (
                _stop_when_parsed([str(script), *arguments[1:]]),
                mock.patch.object(sys, "path", [str(script.parent), *sys.path]),
            ):
                runpy.run_path(str(script), run_name="__main__")
        return
    module, *options = arguments[1:]
    if module in _PARSERS:
        if "--help" not in options:
            _PARSERS[module]([option for option in options if option != "--resume"])
        return
    assert module == "pytest" or module in ("canvas_rl.zoo", "canvas_rl.primitives"), f"unknown module {module}"
    paths = [option for option in options if option.startswith("tests")]
    assert all((ROOT / path.partition("::")[0]).exists() for path in paths), paths
