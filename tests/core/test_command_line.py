"""Options made from dataclasses, and refusals in one line."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from canvas_rl.command_line import POSITIONAL, exit_code, option_names, read_options
from canvas_rl.errors import ConfigError, RunError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """All kinds of options.

    Not shown.
    """

    what: str = field(metadata=POSITIONAL)
    """what to do"""
    output: Path
    """where to,
    in two lines"""
    share: float = 0.5
    """100% is all"""
    limit: int | None = None
    """none or a number"""
    folder: Path | None = None
    """none or a path"""
    filter: str = ""
    """a text"""
    deep_down: bool = True
    """a flag"""
    sizes: tuple[int, ...] = (3, 5)
    """any number of them"""
    names: tuple[str, ...] = ()
    """likewise"""
    bounds: tuple[int, int] = (1, 2)
    """two of them"""


def read(*arguments, groups=(Settings,)):
    return read_options(groups, "python -m it", "Does it.", arguments)


def test_only_what_is_given_is_read_by_the_type_of_its_field():
    given = {"what": "it", "output": Path("there")}
    assert read("it", "--output", "there") == given
    assert read("--output", "there", "it") == given
    assert read("it", "--output=there", "--limit", "-3", "--share", "1e-1") == {**given, "limit": -3, "share": 0.1}
    assert read("it", "--output", "there", "--limit", "none", "--folder", "None") == {
        **given,
        "limit": None,
        "folder": None,
    }
    assert read("--no-deep-down", "it", "--output", "a_b", "--sizes", "7", "--bounds", "3", "4", "--names") == {
        "what": "it",
        "output": Path("a_b"),
        "deep_down": False,
        "sizes": (7,),
        "bounds": (3, 4),
        "names": (),
    }
    assert read("it", "--output", "there", "--names", "a", "b", "--names", "c", "--sizes", "5", "--sizes", "3") == {
        **given,
        "names": ("a", "b", "c"),
        "sizes": (5, 3),
    }
    assert read("it", "--output", "there", "--deep_down", "--names", "none", "--filter", "none") == {
        **given,
        "deep_down": True,
        "names": (),
        "filter": "none",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "WHAT, --output must be given"),
        (("it",), "--output must be given"),
        (("it", "--output"), "--output: expected one argument"),
        (("it", "--ouput", "there"), r"unknown option '--ouput'. Did you mean '--output'\?"),
        (("it", "--xyz=3"), "unknown option '--xyz'. See --help"),
        (("it", "that"), "nothing was expected at 'that'"),
        (("it", "--out", "there"), "unknown option '--out'"),
        (("it", "--output", "there", "--limit", "many"), "limit is 'many': expected a whole number"),
        (("it", "--output", "there", "--share", "none"), "share is 'none': expected a number"),
        (("it", "--output", "there", "--sizes", "3", "x"), "sizes is 'x': expected a whole number"),
        (("it", "--output", "there", "--bounds", "3"), "--bounds: expected 2 arguments"),
        (("--output", "there", "--names", "it"), "WHAT must be given before options of several values: see --help"),
        (("it", "--deep-down=no"), "--deep-down/--no-deep-down: expected no value, not 'no'"),
    ],
)
def test_what_cannot_be_understood_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        read(*arguments)


def test_help_has_docstrings_and_defaults(capsys):
    with pytest.raises(SystemExit) as end:
        read("--help", groups=[Settings("it", Path("there"), sizes=())])
    assert end.value.code == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "usage: python -m it [OPTION ...]"
    assert "All kinds of options:" in lines
    assert "WHAT what to do (default: it)" in lines
    assert "--output PATH where to, in two lines (default: there)" in lines
    assert "--share FLOAT 100% is all (default: 0.5)" in lines
    assert "--limit INT none or a number (default: none)" in lines
    assert "--filter TEXT a text (default: empty)" in lines
    assert "a flag (default: yes)" in lines
    assert "--sizes [INT ...] any number of them (default: none)" in lines
    assert "--bounds INT INT two of them (default: 1 2)" in lines
    with pytest.raises(SystemExit):
        read("--help")
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m it WHAT --output PATH [OPTION ...]\n")
    assert "what to do\n" in text


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("limit is 3: expected 4", "--limit is 3: expected 4"),
        ("the limit is 3", "the limit is 3"),
        ("what is it", "what is it"),
        ("agent option deep_down is 3", "agent option deep_down is 3"),
        ("unknown agent option 'x': expected deep_down", "unknown agent option 'x': expected deep_down"),
        ("made with deep_down and option_s", "made with --deep-down and option_s"),
        ("made with deep_down 3 in 'runs/deep_down'", "made with --deep-down 3 in 'runs/deep_down'"),
        ("two\nlines", "two lines"),
    ],
)
def test_an_error_is_one_line_with_options_as_typed(capsys, message, told):
    def fail():
        raise RunError(message)

    assert exit_code(fail, option_names(Settings)) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_the_exit_code_is_that_of_the_work():
    assert exit_code(lambda: None) == 0
    assert exit_code(lambda: 3) == 3


def test_an_experiment_refuses_bad_input_in_one_line():
    command = [sys.executable, str(ROOT / "experiments" / "compare_agents.py")]
    for arguments, message in ((["--seeds", "0"], "expected at least 1"), (["--folder", "/dev/null"], "can't be made")):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
