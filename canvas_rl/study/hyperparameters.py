"""What TensorBoard's HPARAMS tab compares runs by."""

import time
from dataclasses import fields
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from canvas_rl.study.settings import SearchSettings, unusual_options

METRICS = (
    "best/reward",
    "best/speedup",
    "best/quality",
    "pareto/hypervolume",
    "final/network_speedup",
    "final/evaluations",
)
"""Scalars that the tab shows of each run: the last value of each, while the run goes on too."""

_FIRST = ("agent", "seed", "model", "dataset", "space")
"""Settings that the tab shows first, by a mark meant for those that differ; it hides all but five until asked."""

_NOT_COMPARED = ("evaluations", "time_limit", "workers", "storage", "run_dir", "resume", "data_dir")


def compared(settings: SearchSettings) -> dict[str, str | float]:
    """What tells one search from another, for tables of several runs, by flat names.

    Where a run is kept and when it ends is left out. The search space is one text: what differs from the default's.
    """
    groups = (settings.run, settings.target, settings.quality)
    values = {name: value for group in groups for name, value in _values(group).items() if name not in _NOT_COMPARED}
    space = " ".join(f"{name}={_words(value)}" for name, value in unusual_options(settings.space).items())
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
    values = compared(settings)
    infos = [
        HParamInfo(name=name, differs=name in _FIRST, type=DATA_TYPE_FLOAT64 if _is_number(value) else DATA_TYPE_STRING)
        for name, value in values.items()
    ]
    metrics = [MetricInfo(name=MetricName(tag=tag)) for tag in METRICS]
    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    experiment = Experiment(hparam_infos=infos, metric_infos=metrics)
    return (
        _summary(metadata.EXPERIMENT_TAG, experiment=experiment),
        _summary(metadata.SESSION_START_INFO_TAG, session_start_info=start),
    )


def end_summary() -> Summary:
    """That a run has ended."""
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _summary(tag: str, **content: Any) -> Summary:
    data = metadata.create_summary_metadata(HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=data, tensor=metadata.NULL_TENSOR)])
