"""A run as a report sees it: read from its folder and its store, both of which are left as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from canvas_rl.errors import FormatError, RunError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.store_queries import Record, counting_row
from canvas_rl.files import read_json
from canvas_rl.rewards import Reward, make_reward
from canvas_rl.study.archive import Entry
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.settings import SearchSettings
from canvas_rl.study.verdict import shortfall


class Origin(StrEnum):
    """Where a kernel of a run came from."""

    AGENT = "agent"
    """the agent built it, and it was evaluated for this run"""
    WARM_START = "warm start"
    """a known operator that was evaluated before the agent began"""
    STORE = "store"
    """the agent built it, and the store had its measurement already"""


@dataclass(frozen=True)
class Trial:
    """A kernel that a run asked for."""

    kernel: str
    """canonical hash"""
    number: int
    """which evaluation of the run it was, from 1"""
    origin: Origin
    measurement: Measurement | None
    """what counts for this run; None where neither the store nor the run's folder has it"""
    reward: float | None
    """what the agent earned; None where the replaced convolution's figures are not known"""
    graph: dict[str, Any] | None
    """JSON of the kernel graph; None for skipped kernels, which no store hears of"""
    history: tuple[Record, ...]
    """all that the store knows of it, of other runs, devices and ways of evaluating too"""
    made: datetime | None
    """when the measurement was stored, UTC"""
    stored_before: bool
    """whether the store had its measurement already, be it a warm start or not: `made` is then no time of the run"""

    @property
    def ok(self) -> bool:
        """Whether it was measured without failure."""
        return self.measurement is not None and self.measurement.ok

    @property
    def made_here(self) -> datetime | None:
        """When it was measured for the run; None where the store had it before, or there is no measurement."""
        return None if self.stored_before else self.made

    @property
    def status(self) -> str:
        """Its status, or `unknown` where there is no measurement."""
        return "unknown" if self.measurement is None else str(self.measurement.status)


@dataclass(frozen=True)
class Run:
    """What a report knows of a run."""

    path: Path
    name: str
    settings: SearchSettings
    device: str
    fingerprint: str
    """of how kernels were evaluated: latencies are comparable where it and the device are the same"""
    reference: Measurement | None
    """the replaced convolution; None for an unfinished run of an older version"""
    reference_reward: float | None
    """what the convolution itself would earn; None where its figures are not known"""
    trials: tuple[Trial, ...]
    """in the order of asking"""
    repeats: int
    seconds: float | None
    """that the run took, resumed parts included; None for a run of an older version"""
    network: Mapping[str, Any] | None
    """latency of the whole network with the best kernel, as `best/metrics.json` has it: `speedup`, `latency_s`"""

    @property
    def best(self) -> Trial | None:
        """The kernel with the highest reward; of equal ones the first. None if nothing was measured."""
        earned = [trial for trial in self.trials if trial.ok and trial.reward is not None]
        return max(earned, key=lambda trial: trial.reward or 0.0) if earned else None

    @property
    def shortfall(self) -> str | None:
        """A sentence that no kernel beats the replaced convolution; None if one does, or that is not known."""
        if self.reference is None or self.reference_reward is None or not self.trials:
            return None
        best = self.best
        measurement, reward = (best.measurement, best.reward or 0.0) if best else (None, 0.0)
        return shortfall(measurement, reward, self.reference, self.reference_reward)


def read_run(path: str | Path) -> Run:
    """Read a run, also one that is going on.

    Raises:
        RunError: there is no run.
        FormatError: one of its files is damaged or of another version.
        StoreError: its store can't be opened or read, or an entry is damaged.
    """
    folder = RunFolder(Path(path))
    if not folder.is_run():
        raise RunError(
            f"{str(path)!r} is no run: expected a folder with config.json, as python -m canvas_rl.train writes one"
        )
    settings = folder.settings()
    device, fingerprint = _measured(folder)
    state = folder.load_state() or {"asked": []}
    metrics = _metrics(folder)
    try:
        kept = _Kept.of(state, metrics)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"a file of the run {str(path)!r} is damaged ({error!r}): restore it or leave the run out"
        ) from error
    records = _stored(folder, settings, kept.asked)
    chosen = {name: _counting(found, fingerprint, device) for name, found in records.items()}
    reward = make_reward(settings.run.reward)
    trials = tuple(
        _trial(number, name, kept, reward, records.get(name, []), chosen.get(name))
        for number, name in enumerate(kept.asked, start=1)
    )
    network = metrics.get("network")
    name = folder.path.resolve().name
    own = None if kept.reference is None else reward(kept.reference, kept.reference)
    return Run(
        folder.path,
        name,
        settings,
        device,
        fingerprint,
        reference=kept.reference,
        reference_reward=own,
        trials=trials,
        repeats=kept.repeats,
        seconds=kept.seconds,
        network=network,
    )


@dataclass(frozen=True)
class _Kept:
    """What the run's folder itself says of kernels."""

    asked: tuple[str, ...]
    warm_start: frozenset[str]
    from_store: frozenset[str]
    skipped: Mapping[str, str]
    entries: Mapping[str, Entry]
    reference: Measurement | None
    repeats: int
    seconds: float | None

    @classmethod
    def of(cls, state: Mapping[str, Any], metrics: Mapping[str, Any]) -> "_Kept":
        entries = [Entry.from_json(data) for data in (*state.get("front", ()), *state.get("archive", ()))]
        reference = state.get("reference") or metrics.get("reference")  # older versions have only the second
        return cls(
            tuple(map(str, state["asked"])),
            frozenset(state.get("warm_start", ())),
            frozenset(state.get("from_store", ())),
            {str(name): str(message) for name, message in state.get("skipped", {}).items()},
            {entry.graph.hash: entry for entry in entries},
            None if reference is None else Measurement.from_json(reference),
            int(state.get("repeats", 0)),
            None if state.get("seconds") is None else float(state["seconds"]),
        )


def _measured(folder: RunFolder) -> tuple[str, str]:
    """Name of the device and fingerprint of the evaluation."""
    measured = read_json(folder.path / "config.json").get("measured")
    if not isinstance(measured, str):
        raise FormatError(f"config.json of the run {str(folder.path)!r} does not say what it was measured on: damaged")
    device, _, fingerprint = measured.rpartition(", ")
    return device, fingerprint


def _metrics(folder: RunFolder) -> Mapping[str, Any]:
    """What the end of the run wrote; empty before."""
    path = folder.path / "best" / "metrics.json"
    metrics = read_json(path) if path.exists() else {}
    if not isinstance(metrics, dict):
        raise FormatError(f"{str(path)!r} is damaged: restore it or delete it")
    return metrics


def _stored(folder: RunFolder, settings: SearchSettings, asked: Sequence[str]) -> dict[str, list[Record]]:
    if not asked:
        return {}
    store = MeasurementStore(folder.store_url(settings.run.storage), read_only=True)
    try:
        return store.histories(asked)
    finally:
        store.close()


def _counting(records: Sequence[Record], fingerprint: str, device: str) -> Record | None:
    """The row that counts for a run: the latest conclusive one, else the latest."""
    own = [record for record in records if (record.fingerprint, record.device) == (fingerprint, device)]
    return counting_row(own, lambda record: record.measurement.status.conclusive)


def _trial(
    number: int,
    name: str,
    kept: _Kept,
    reward: Reward,
    records: Sequence[Record],
    record: Record | None,
) -> Trial:
    stored_before = name in kept.from_store
    entry = kept.entries.get(name)
    measurement = record.measurement if record else entry.measurement if entry else None
    graph = records[0].graph if records else entry.graph.to_json() if entry else None
    if measurement is None and name in kept.skipped:
        measurement = Measurement(name, Status.SKIPPED, kept.skipped[name])
    earned = entry.reward if entry else None
    if earned is None and measurement is not None and kept.reference is not None:
        earned = reward(measurement, kept.reference)
    origin = Origin.WARM_START if name in kept.warm_start else Origin.STORE if stored_before else Origin.AGENT
    made = record.created if record else None
    return Trial(name, number, origin, measurement, earned, graph, tuple(records), made, stored_before)
