"""The program of an isolated worker process: it takes jobs from a pipe until the pipe closes.

A worker is started with `python -c` instead of multiprocessing's spawn, which would import the user's main script
again (and so fail in scripts without a main guard). It leads a process group of its own: Ctrl-C in the terminal
does not reach it, and killing the group takes its compilers along.
"""

import contextlib
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
        device_memory: bytes of CUDA memory that PyTorch may take; None: CUDA is not used.
        preload: modules to import at the start, so that no job's time limit pays for them.
    """

    threads: int = 1
    memory_limit: int = 4 * 2**30
    limit_address_space: bool = True
    device_memory: int | None = None
    preload: tuple[str, ...] = ()


def main(descriptor: int) -> None:
    """Serve the parent at the other end of a pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    connection = Connection(descriptor)
    _prepare(connection.recv())
    nowhere = _silence()
    try:
        connection.send(READY)
        _serve(connection, nowhere)
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


def _silence() -> int:
    """Send to nowhere what kernels and their children print, whatever they print with; a descriptor of nowhere.

    Nobody reads it. A file would fill the disk, and a pipe would have to be read while others are timed.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    return nowhere


def _prepare(settings: WorkerSettings) -> None:
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where the machine's memory runs out, Linux shall take this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    import torch

    for module in ("canvas_rl.evaluation.jobs", *settings.preload):
        import_module(module)
    torch.set_num_threads(settings.threads)
    if settings.device_memory is not None:
        _start_cuda(settings.device_memory)
    if settings.limit_address_space and sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + settings.memory_limit
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _start_cuda(memory_limit: int) -> None:
    """Make the context and load the libraries now, so that no job's limits pay for them."""
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory_limit / total))
    layer = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8, 8)).cuda()
    layer(torch.zeros(2, 8, 3, 3, device="cuda")).sum().backward()
    torch.cuda.synchronize()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os.killpg(0, signal.SIGKILL)
