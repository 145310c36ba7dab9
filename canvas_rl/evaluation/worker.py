"""The program of an isolated worker process: it takes jobs from a pipe until the pipe closes.

A worker is started with `python -c` instead of multiprocessing's spawn, which would import the user's main script
again (and so fail in scripts without a main guard). It leads a process group of its own: Ctrl-C in the terminal
does not reach it, and killing the group takes its compilers along.
"""

import faulthandler
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

READY = "ready"
_PARENT_CHECK_S = 1.0
_GRACE_S = 5.0


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker limits itself.

    Args:
        threads: torch threads.
        memory_limit: bytes beyond what the worker needs when idle.
        limit_address_space: whether the limit is set on the address space (not with CUDA, which reserves far more
            than it uses).
        preload: modules to import at the start, so that no job's time limit pays for them.
    """

    threads: int = 1
    memory_limit: int = 4 * 2**30
    limit_address_space: bool = True
    preload: tuple[str, ...] = ()


def main(descriptor: int) -> None:
    """Serve the parent at the other end of a pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    connection = Connection(descriptor)
    _prepare(connection.recv())
    connection.send(READY)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        try:
            _serve(connection, nowhere.fileno())
        except (EOFError, OSError):
            sys.exit(0)


def _serve(connection: Connection, nowhere: int) -> None:
    from canvas_rl.evaluation.jobs import run_job
    from canvas_rl.registry import load_object

    cache: dict[str, Any] = {}
    while True:
        function, payload, limit_s = connection.recv()
        # A last resort that needs no interpreter lock, should the parent be gone and the job hang in native code.
        faulthandler.dump_traceback_later(limit_s + _GRACE_S, exit=True, file=nowhere)
        reply = run_job(load_object(function), payload, cache)
        faulthandler.cancel_dump_traceback_later()
        connection.send(reply)


def _prepare(settings: WorkerSettings) -> None:
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    import torch

    for module in ("canvas_rl.evaluation.jobs", *settings.preload):
        import_module(module)
    torch.set_num_threads(settings.threads)
    if settings.limit_address_space and sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + settings.memory_limit
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os.killpg(0, signal.SIGKILL)
