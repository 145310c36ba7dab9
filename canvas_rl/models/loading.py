"""Get a network by name, by a `module:factory` path, or from a factory."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from canvas_rl.errors import CanvasError, ConfigError, UnknownNameError
from canvas_rl.placeholder import ExampleInput
from canvas_rl.registry import Registry, did_you_mean

MODELS = Registry(
    "model",
    {
        "resnet18": "canvas_rl.models.resnet:resnet18",
        "resnet34": "canvas_rl.models.resnet:resnet34",
        "resnet8": "canvas_rl.models.resnet:resnet8",
        "resnet1d": "canvas_rl.models.small:resnet1d",
        "mlp": "canvas_rl.models.small:mlp",
    },
)
"""Names of built-in networks; each is a factory of (model, example input)."""


def load_model(model: str | Callable[[], Any]) -> tuple[nn.Module, ExampleInput]:
    """A fresh network and an example of its input.

    Args:
        model: a name in `MODELS`; a `module:factory` path; or a factory. A factory takes no arguments and gives a
            network or (network, example input); a network alone gets one RGB image of 224x224 as its example.

    Raises:
        UnknownNameError: no built-in network has the name.
        ConfigError: the path or what the factory gives can't be used.
    """
    factory = _factory(model) if isinstance(model, str) else model
    label = repr(model) if isinstance(model, str) else repr(getattr(model, "__qualname__", model))
    if not callable(factory):
        raise ConfigError(f"model {label} is a {type(factory).__name__}: expected a factory that takes no arguments")
    try:
        made = factory()
    except CanvasError:
        raise
    except Exception as error:
        raise ConfigError(f"model {label} can't be made: its factory raised {_describe(error)}") from error
    return _check(label, made)


def _factory(name: str) -> Any:
    if ":" not in name:
        try:
            return MODELS.get(name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{error} A network of your own is given as module:factory.") from None
    path, _, attribute = name.partition(":")
    try:
        module = import_module(path)
    except Exception as error:
        raise ConfigError(f"model {name!r}: module {path!r} can't be imported: {_describe(error)}") from error
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ConfigError(
            f"model {name!r}: module {path!r} has no {attribute!r}: expected the name of a factory."
            f"{did_you_mean(attribute, public)}"
        )
    return getattr(module, attribute)


def _check(label: str, made: Any) -> tuple[nn.Module, ExampleInput]:
    network, example = made if isinstance(made, tuple) and len(made) == 2 else (made, torch.zeros(1, 3, 224, 224))
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"model {label} gave a {type(made).__name__}: expected a torch.nn.Module or (module, example input)"
        )
    if not isinstance(example, torch.Tensor | tuple | list | dict):
        raise ConfigError(
            f"model {label} gave a {type(example).__name__} as its example input: expected a tensor, "
            "a tuple of arguments or a dict of them by name"
        )
    return network, example


def _describe(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
