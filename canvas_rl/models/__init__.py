"""Networks to search kernels for: built-in ones by name, and anyone's by `module:factory`."""

from canvas_rl.models.loading import MODELS, load_model

__all__ = ["MODELS", "load_model"]
