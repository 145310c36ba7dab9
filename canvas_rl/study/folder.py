"""The folder of a run."""

import io
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from canvas_rl.errors import FormatError, RunError
from canvas_rl.evaluation.data import is_file
from canvas_rl.files import read_json, replaced_folder, tidy, write_json
from canvas_rl.session import Snapshot
from canvas_rl.study.settings import SearchSettings

RUNS = Path("runs")
_CONFIG = "config.json"
_KEPT = 2
_LIMITS = {"evaluations", "time_limit", "workers"}
_MAY_CHANGE = _LIMITS | {"run_dir", "resume", "data_dir"}


def new_path() -> Path:
    """A path for a new run, named after the present time."""
    return RUNS / datetime.now().strftime("%Y-%m-%d-%H%M%S")


class RunFolder:
    """One run on disk: `config.json`, `state.json`, `checkpoints/`, `tensorboard/`, `best/`, `search.sqlite`.

    Make it with `create` or `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a folder that can't be used for a new run.

        Raises:
            RunError: it has a run or other files already, or is no folder.
        """
        try:
            has_run = (path / _CONFIG).exists()
            in_the_way = path.exists() and (not path.is_dir() or any(path.iterdir()))
        except OSError as error:  # such as a name that is too long, or a folder that can't be listed
            raise RunError(f"{str(path)!r} can't be used ({error.strerror}): choose another --run-dir") from error
        if has_run:
            raise RunError(f"{str(path)!r} has a run already: continue it with --resume, or choose another --run-dir")
        if in_the_way:
            raise RunError(f"{str(path)!r} exists and is not an empty folder: choose another --run-dir")

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """A new, empty folder.

        Raises:
            RunError: it has a run or other files already, or can't be made.
        """
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{str(path)!r} can't be created ({error.strerror}): choose another --run-dir") from error
        if not os.access(path, os.W_OK):
            raise RunError(f"{str(path)!r} is not writable: choose another --run-dir")
        return cls(path)

    @classmethod
    def open(cls, path: Path | None) -> "RunFolder":
        """An existing run; None takes the newest of `runs/`.

        Raises:
            RunError: there is no run, its name is too long, or it can't be read or written.
        """
        if path is None:
            found = sorted(RUNS.glob(f"*/{_CONFIG}"), key=lambda config: config.stat().st_mtime)
            if not found:
                raise RunError(f"there is no run in {str(RUNS)!r} to resume: name one with --run-dir")
            path = found[-1].parent
        folder = cls(path)
        if not folder.is_run():
            raise RunError(f"{str(path)!r} has no run to resume: leave out --resume to start one there")
        if not os.access(path, os.W_OK):
            raise RunError(f"{str(path)!r} is not writable: resume needs to write there")
        return folder

    def tidy(self) -> None:
        """Mend what a killed search has left behind."""
        for folder in (self.path, self.path / "checkpoints"):
            tidy(folder)

    def is_run(self) -> bool:
        """Whether the folder holds a run already.

        Raises:
            RunError: the folder can't be searched, or its name is too long.
        """
        try:
            return (self.path / _CONFIG).exists()
        except OSError as error:
            raise RunError(
                f"{str(self.path)!r} can't be read ({error.strerror}): expected the folder of a run"
            ) from error

    def settings(self) -> SearchSettings:
        """The settings of the run.

        Raises:
            FormatError: `config.json` is missing, damaged or of another version.
        """
        return SearchSettings.from_json(read_json(self.path / _CONFIG))

    def save_settings(self, settings: SearchSettings, fingerprint: str, measured: str) -> None:
        """Write `config.json`, which makes the folder a run.

        Args:
            settings: those of the run.
            fingerprint: of its search space.
            measured: the device, and the fingerprint of how kernels are evaluated.
        """
        values = {**settings.to_json(), "space_fingerprint": fingerprint, "measured": measured}
        write_json(self.path / _CONFIG, values)

    def save_changes(self, settings: SearchSettings) -> None:
        """Write to `config.json` what a run was resumed with: its limits and workers, and where its data are now."""
        old, new = read_json(self.path / _CONFIG), settings.to_json()
        limits = {name: new["run"][name] for name in _LIMITS}
        changed = {"run": old["run"] | limits, "quality": new["quality"]}
        if old != old | changed:
            write_json(self.path / _CONFIG, old | changed)

    def check_settings(self, asked: SearchSettings) -> None:
        """Refuse to resume with settings that would make it another search.

        A data file may have moved: whether it is the same is seen by its content, see `check_measured`.

        Raises:
            RunError: names the setting.
        """
        old, new = self.settings().flat(), asked.flat()
        may_change = _MAY_CHANGE | {"dataset"} if is_file(old["dataset"]) and is_file(new["dataset"]) else _MAY_CHANGE
        for name, value in old.items():
            if name not in may_change and new[name] != value:
                raise RunError(
                    f"the run in {str(self.path)!r} was made with {name} {value!r}, not {new[name]!r}: "
                    f"leave {name} out to resume it, or start a new run with another --run-dir"
                )

    def check_space(self, fingerprint: str) -> None:
        """Refuse to resume in another search space, as after an update of canvas_rl or a change of the model.

        Raises:
            RunError: the fingerprints differ.
        """
        saved = read_json(self.path / _CONFIG).get("space_fingerprint")
        if saved != fingerprint:
            raise RunError(
                f"the run in {str(self.path)!r} was made with another search space ({str(saved)[:12]}, now "
                f"{fingerprint[:12]}): the model or canvas_rl changed, so start a new run with another --run-dir"
            )

    def check_measured(self, measured: str) -> None:
        """Refuse to resume where figures would not compare: on another device, with another torch or other data.

        Raises:
            RunError: the device or the way of evaluating differs.
        """
        saved = read_json(self.path / _CONFIG).get("measured")
        if saved != measured:
            raise RunError(
                f"the run in {str(self.path)!r} was measured as {saved!r}, now it would be {measured!r}: resume it on "
                "the same device with the same torch and data, or start a new run with another --run-dir"
            )

    def store_url(self, storage: str | None) -> str:
        """Where measurements are kept: the given URL, or a SQLite file in the folder."""
        return storage or f"sqlite:///{(self.path / 'search.sqlite').resolve()}"

    def subfolder(self, name: str) -> Path:
        """A folder inside, made if it is missing."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder

    def save_state(self, state: dict[str, Any]) -> None:
        """Write the history of the search."""
        write_json(self.path / "state.json", state)

    def load_state(self) -> dict[str, Any] | None:
        """The saved history, None if there is none yet."""
        path = self.path / "state.json"
        if not path.exists():
            return None
        state = read_json(path)
        if not isinstance(state, dict) or not isinstance(state.get("asked"), list):
            raise FormatError(f"{str(path)!r} is damaged: start a new run (its measurements stay in the store)")
        return state

    def evaluations(self) -> int:
        """How many kernels the run has asked for so far."""
        state = self.load_state()
        return len(state["asked"]) if state else 0

    def save_checkpoint(self, asked: int, snapshot: Snapshot, fingerprint: str) -> None:
        """Save the agent's state.

        Args:
            asked: kernels counted when it was taken.
            snapshot: the state.
            fingerprint: of the search space that it belongs to.
        """
        parent = self.subfolder("checkpoints")
        with replaced_folder(parent / f"{asked:07}") as folder:
            for name, tensors in snapshot.tensors.items():
                torch.save(tensors, folder / f"{name}.pt")
            data = {"asked": asked, "state": snapshot.state, "space_fingerprint": fingerprint}
            data |= {"tensors": sorted(snapshot.tensors), "version": snapshot.version}
            write_json(folder / "agent.json", data)
        for old in self._checkpoints()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self, fingerprint: str) -> tuple[int, Snapshot] | None:
        """The newest checkpoint with the number of kernels counted then; None if there is none.

        Raises:
            FormatError: it is damaged.
            RunError: it belongs to another search space.
        """
        found = self._checkpoints()
        if not found:
            return None
        folder = found[-1]
        data = read_json(folder / "agent.json")
        try:
            if data["space_fingerprint"] != fingerprint:
                raise RunError(
                    f"the checkpoint {str(folder)!r} belongs to another search space: its actions mean something else, "
                    "so start a new run with another --run-dir"
                )
            tensors = {name: _load_tensors(folder / f"{name}.pt") for name in data["tensors"]}
            version = int(data.get("version", 0))  # older ones have none
            return int(data["asked"]), Snapshot(dict(data["state"]), tensors, version)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"the checkpoint {str(folder)!r} is damaged ({error!r}): delete it to use the one before"
            ) from error

    def _checkpoints(self) -> list[Path]:
        return sorted(path for path in (self.path / "checkpoints").glob("[0-9]*") if path.is_dir())

    def replace_best(self, fill: Callable[[Path], None]) -> Path:
        """Write `best/` anew and whole.

        Args:
            fill: writes the files into the folder it is given.
        """
        with replaced_folder(self.path / "best") as folder:
            fill(folder)
        return self.path / "best"


def _load_tensors(path: Path) -> Any:
    try:
        return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files, and pickle's own for forbidden content
        raise FormatError(f"{str(path)!r} can't be read ({type(error).__name__}): the checkpoint is damaged") from error
