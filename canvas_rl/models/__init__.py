"""Networks to search kernels for: built-in ones by name, and anyone's by `module:factory`."""

from canvas_rl.models.loading import load_model
from canvas_rl.registry import Registry

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

__all__ = ["MODELS", "load_model"]
