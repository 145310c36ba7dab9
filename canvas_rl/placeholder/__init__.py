"""Where kernels go in a network: placeholders, their sizes, filling them, and placing them in other people's models."""

from canvas_rl.placeholder.auto import auto_place
from canvas_rl.placeholder.discovery import get_placeholders, sites_of
from canvas_rl.placeholder.dry_run import ExampleInput
from canvas_rl.placeholder.modules import Conv2D, Identity
from canvas_rl.placeholder.placeholder import Placeholder
from canvas_rl.placeholder.replacement import init_weights, replace
from canvas_rl.placeholder.report import Placement, PlacementReport
from canvas_rl.placeholder.saving import get_state_dict, remove_cache, restore_from_state_dict

__all__ = [
    "Conv2D",
    "ExampleInput",
    "Identity",
    "Placeholder",
    "Placement",
    "PlacementReport",
    "auto_place",
    "get_placeholders",
    "get_state_dict",
    "init_weights",
    "remove_cache",
    "replace",
    "restore_from_state_dict",
    "sites_of",
]
