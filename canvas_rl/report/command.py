"""The command that repeats a search."""

import shlex
from typing import Any

from canvas_rl.evaluation.store_engine import masked, parse_url
from canvas_rl.study.settings import SearchSettings

_NEVER = ("run_dir", "resume", "agent", "seed", "evaluations")
"""Settings that say where a run is, and those that are always named."""


def repeat_command(settings: SearchSettings) -> str:
    """The command line of a search with these settings; those that are the defaults are left out.

    The passwords of a store are replaced by `***`.
    """
    values, defaults = settings.flat(), SearchSettings().flat()
    words = ["python", "-m", "canvas_rl.train", "--agent", values["agent"]]
    words += ["--evaluations", str(values["evaluations"]), "--seed", str(values["seed"])]
    if values["storage"] is not None:
        values["storage"] = masked(parse_url(values["storage"]))
    for name, value in values.items():
        if name not in _NEVER and value != defaults[name]:
            words += _words(name.replace("_", "-"), value)
    return shlex.join(words)


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, tuple):
        return [f"--{flag}", *map(str, value)]
    return [f"--{flag}", "none" if value is None else str(value)]
