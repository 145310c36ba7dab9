"""Registries of named things: registered as strings, imported only when asked for."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from canvas_rl.errors import UnknownNameError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as ` Did you mean 'ppo'?`, empty where nothing known is close to `name`."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def load_object(path: str) -> Any:
    """Import the object that a `module:attribute` path names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


class Registry:
    """Names mapped to `module:attribute` paths, imported at the first look-up.

    Args:
        kind: what is registered, in the singular; error messages use it.
        entries: the registered names and paths. Adding a thing is adding one line here.
    """

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> tuple[str, ...]:
        """All registered names, in the order of registration."""
        return tuple(self._entries)

    def get(self, name: str) -> Any:
        """The object registered as `name`.

        Raises:
            UnknownNameError: nothing is registered as `name`.
        """
        if name not in self._entries:
            raise UnknownNameError(
                f"unknown {self.kind} {name!r}: expected one of {', '.join(self._entries)}."
                f"{did_you_mean(name, self._entries)}"
            )
        return load_object(self._entries[name])
