"""Files that are either complete or absent: everything is written beside its place and then moved there."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canvas_rl.errors import FormatError, RunError

if TYPE_CHECKING:
    from torch import Tensor

_UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.old)?")


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False where its name is too long or a folder above can't be searched."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; see `exists`."""
    return exists(path) and path.is_dir()


def full_path(path: str | Path) -> Path:
    """An absolute path; a `~` or `~name` that begins it is a home folder, where there is one of that name."""
    return Path(os.path.expanduser(path)).absolute()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        RunError: the folder can't be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # mkstemp's files are for their owner alone
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write tensors as safetensors, readable for all as text files are; not atomic: the folder around it is."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    os.chmod(path, 0o644)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically; see `write_text`."""
    write_text(path, json.dumps(data, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        FormatError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{str(path)!r} does not exist: expected a file of a canvas_rl run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{str(path)!r} can't be read ({error}): it is damaged or not a file of canvas_rl") from error


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(f"{str(path)!r} can't be written ({error.strerror}): check the folder and the disk")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of `path` when all went well.

    Raises:
        RunError: the folder can't be written.
    """
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    old = new.with_name(new.name + ".old")
    try:
        new.chmod(0o755)
        yield new
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if old.exists() and not path.exists():  # interrupted between the two moves
            os.replace(old, path)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a path to write a file to, which takes the place of `path` when all went well; its name is the same.

    Raises:
        RunError: the folder can't be written, or nothing was written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidy(parent: Path) -> None:
    """Remove what a killed process has left unfinished; a folder that it had moved aside comes back."""
    for path in parent.glob(".*"):
        name = _UNFINISHED.fullmatch(path.name)
        if name is None:
            continue
        if name[2] and not (parent / name[1]).exists():
            os.replace(path, parent / name[1])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
