"""Every exception that canvas_rl raises on purpose.

Messages are one sentence for a person: the value, what was expected and what to do. The command line prints
them without a traceback and exits with code 2.
"""

import reprlib

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 160


def shown(value: object) -> str:
    """A value for a message, cut short; also where Python itself refuses to write it out."""
    try:
        return _REPR.repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


class CanvasError(Exception):
    """Base of all errors of this package; catch it to catch everything raised on purpose."""


class ConfigError(CanvasError, ValueError):
    """An option has a value that can't be used."""


class UnknownNameError(ConfigError):
    """A name (agent, model, data set, reward, primitive) is in no registry."""


class EmptySpaceError(ConfigError):
    """No kernel can meet the search-space options; the message names those in conflict."""


class MissingDependencyError(CanvasError, ImportError):
    """An optional package is needed and not installed."""


class RegistrationError(CanvasError):
    """The installed `envs` or `agents` package is not ours: another distribution stands in the way."""


class PlaceholderError(CanvasError, ValueError):
    """A model has no placeholder, unknown shapes, or placeholders that no single kernel can serve."""


class GraphError(CanvasError, ValueError):
    """A kernel graph breaks a rule of the kernel language, or does not fit the sizes it was asked for."""


class FormatError(CanvasError, ValueError):
    """A saved file is damaged, or was written by an older or newer version that can't be read."""


class SamplingTimeout(CanvasError, TimeoutError):
    """`sample` did not finish a kernel within its timeout."""


class IllegalActionError(CanvasError, ValueError):
    """An action was applied that the mask forbids."""


class DatasetError(CanvasError):
    """A data set is missing or malformed."""


class StoreError(CanvasError):
    """The measurement store can't be opened, read or written."""


class RunError(CanvasError):
    """A run folder can't be created, continued or read."""


class EvaluationError(CanvasError):
    """An evaluation can't be set up at all (a single failed kernel is a status, not an error)."""


class ExportError(CanvasError):
    """A module can't be written in a format, or the written file does not compute what the module does."""


class InternalError(CanvasError):
    """A promise of this package was broken: a bug. Please report it with the message."""
