"""What TensorBoard's HPARAMS tab compares runs by."""

from dataclasses import fields
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams

from canvas_rl.study.settings import SearchSettings, default_space

METRICS = (
    "best/reward",
    "best/speedup",
    "best/quality",
    "pareto/hypervolume",
    "final/network_speedup",
    "final/evaluations",
)
"""Scalars that the tab shows of each run: the last value of each, while the run goes on too."""

_NOT_COMPARED = ("evaluations", "time_limit", "workers", "storage", "run_dir", "resume", "data_dir")


def compared(settings: SearchSettings) -> dict[str, str | float]:
    """What tells one search from another, for tables of several runs, by flat names.

    Where a run is kept and when it ends is left out. The search space is one text: what differs from the default's.
    """
    groups = (settings.run, settings.target, settings.quality)
    values = {name: value for group in groups for name, value in _values(group).items() if name not in _NOT_COMPARED}
    usual = _values(default_space())
    unusual = {name: value for name, value in _values(settings.space).items() if value != usual[name]}
    space = " ".join(f"{name}={_words(value)}" for name, value in unusual.items())
    return {name: value if _is_number(value) else _words(value) for name, value in values.items()} | {
        "space": space or "default"
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value).lower()


def _values(group: Any) -> dict[str, Any]:
    return {item.name: getattr(group, item.name) for item in fields(group)}


def start_summaries(settings: SearchSettings) -> tuple[Summary, Summary]:
    """What is compared, and this run's settings."""
    experiment, start, _ = hparams(compared(settings), dict.fromkeys(METRICS, 0.0))  # type: ignore[no-untyped-call]
    return experiment, start


def end_summary() -> Summary:
    """That a run has ended."""
    return hparams({}, {})[2]  # type: ignore[no-untyped-call]
