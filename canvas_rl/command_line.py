"""Command lines: options made from the fields of dataclasses, and refusals in one line with exit code 2."""

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from canvas_rl.errors import CanvasError, ConfigError
from canvas_rl.registry import did_you_mean

POSITIONAL = {"positional": True}
"""Metadata of a dataclass field that is given without a name."""

_EXPECTED = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises what it refuses as a ConfigError, and says what was meant by unknown options."""

    def __init__(self, prog: str, description: str) -> None:
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=kind, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            ConfigError: always.
        """
        told = message.removeprefix("argument ").replace("ignored explicit argument", "expected no value, not")
        raise ConfigError(told)

    def read(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments; None for those of this process.

        Raises:
            ConfigError: they can't be understood.
        """
        given = sys.argv[1:] if arguments is None else arguments
        found, rest = self.parse_known_args([_hyphenated(argument) for argument in given])
        for unknown in sorted(rest, key=lambda argument: not argument.startswith("-")):
            name = unknown.partition("=")[0]
            if name.startswith("-"):
                hint = did_you_mean(name, self._option_string_actions) or " See --help."
                raise ConfigError(f"unknown option {name!r}.{hint}")
            raise ConfigError(f"nothing was expected at {unknown!r}: see --help")
        return found


def read_options(
    groups: Sequence[Any], prog: str, description: str, arguments: Sequence[str] | None = None
) -> dict[str, Any]:
    """What a command line gives, by the names of fields.

    Args:
        groups: dataclasses, or instances of them whose values are the defaults. Each field is an option, with the
            docstring after it as its help: a flag for a bool, several values for a tuple, at once or one by one; `none`
            is None, or no values. Fields without a default have to be given.
        prog: how the command line begins.
        description: what it does.
        arguments: those after `prog`; None for those of this process.

    Raises:
        ConfigError: an option that does not exist or is missing, or a value that its field can't have.
    """
    parser = Parser(prog, description)
    hints: dict[str, Any] = {}
    required: dict[str, argparse.Action] = {}
    for group in groups:
        kind = group if isinstance(group, type) else type(group)
        section = parser.add_argument_group((inspect.getdoc(kind) or kind.__name__).splitlines()[0].rstrip("."))
        helps, own = _docstrings(kind), get_type_hints(kind)
        hints |= own
        for item in fields(group):
            default = getattr(group, item.name, MISSING)
            name = item.name.upper() if item.metadata == POSITIONAL else option_name(item.name)
            action = _add(section, item.name, name, own[item.name], _help(helps[item.name], default))
            if default is MISSING:
                required[item.name] = action
    named = (" ".join([*action.option_strings, str(action.metavar)]) for action in required.values())
    parser.usage = " ".join([prog, *named, "[OPTION ...]"])
    found = vars(parser.read(arguments))
    missing = [action for field, action in required.items() if field not in found]
    if missing:
        names = [action.option_strings[0] if action.option_strings else str(action.metavar) for action in missing]
        taken = any(isinstance(value, list) for value in found.values()) and not missing[0].option_strings
        where = " before options of several values" if taken else ""
        raise ConfigError(f"{', '.join(names)} must be given{where}: see --help")
    return {name: _convert(name, value, hints[name]) for name, value in found.items()}


def option_name(name: str) -> str:
    """The option of a field: `--kernel-sizes` of `kernel_sizes`."""
    return f"--{name.replace('_', '-')}"


def option_names(*kinds: type[Any]) -> dict[str, str]:
    """The options of the fields of some dataclasses, by their names."""
    return {item.name: option_name(item.name) for kind in kinds for item in fields(kind) if not item.metadata}


def exit_code(work: Callable[[], int | None], names: Mapping[str, str] | None = None) -> int:
    """Do what a command line asks for; returns the exit code: 2 for input that can't be used, which is told in a line.

    Args:
        work: what is to be done; returns the exit code, None for 0.
        names: the options of fields that messages name.
    """
    try:
        return work() or 0
    except CanvasError as error:
        message = " ".join(str(error).split("\n"))
        sys.stderr.write(f"error: {_as_typed(message, names) if names else message}\n")
        return 2


def _as_typed(message: str, names: Mapping[str, str]) -> str:
    """A message with options as they are typed.

    Words such as `device` mean an option where the message begins with them, others such as `kernel_sizes` anywhere
    but in paths. A message about an option of an agent or a reward names theirs, and stays as it is.
    """
    if re.search(r"\boption '?\w", message):
        return message
    first, anywhere = "|".join(names), "|".join(name for name in names if "_" in name)
    pattern = rf"^({first})(?= (?:is|has)\b)"
    if anywhere:
        pattern += rf"|(?<![\w'\"/.=-])({anywhere})(?![\w'\"/.=-])"
    return re.sub(pattern, lambda found: names[found[0]], message)


def _hyphenated(argument: str) -> str:
    """`--run_dir` is `--run-dir`."""
    name, equals, value = argument.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if argument.startswith("--") else argument


def _add(section: "argparse._ArgumentGroup", field: str, name: str, hint: Any, words: str) -> argparse.Action:
    """Add an option, or a positional argument, whose texts are read later."""
    named: dict[str, Any] = {"default": argparse.SUPPRESS, "help": words}
    kind = _without_none(hint)
    if not name.startswith("-"):
        return section.add_argument(field, metavar=name, nargs="?", **named)
    if kind is bool:
        return section.add_argument(name, dest=field, action=argparse.BooleanOptionalAction, **named)
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        count = "*" if others == [Ellipsis] else 1 + len(others)
        several: dict[str, Any] = {"nargs": count, "action": "extend" if count == "*" else "store"}
        return section.add_argument(name, dest=field, metavar=_METAVARS[first], **several, **named)
    return section.add_argument(name, dest=field, metavar=_METAVARS[kind], **named)


def _without_none(hint: Any) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(hint) else hint


def _convert(name: str, value: Any, hint: Any) -> Any:
    kind = _without_none(hint)
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        none = get_args(kind)[1:] == (Ellipsis,) and [text.lower() for text in value] == ["none"]
        return () if none else tuple(_read(name, text, get_args(kind)[0]) for text in value)
    return None if kind is not hint and value.lower() == "none" else _read(name, value, kind)


def _read(name: str, text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}: expected {_EXPECTED[kind]}") from error


def _help(words: str, default: Any) -> str:
    return f"{words}{'' if default is MISSING else f' (default: {_told(default)})'}".replace("%", "%%")


def _told(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(map(str, default)) or "none"
    return "none" if default is None else str(default) or "empty"


def _docstrings(kind: type[Any]) -> dict[str, str]:
    """The docstrings after the fields of a dataclass."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body: Iterable[tuple[ast.stmt, ast.stmt]] = zip(tree.body, tree.body[1:], strict=False)  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(ast.literal_eval(text.value).split())
        for field, text in body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }
