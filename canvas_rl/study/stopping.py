"""Ending a search early and cleanly: Ctrl-C, SIGTERM and the time limit."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from canvas_rl.session import SearchOver

logger = logging.getLogger(__name__)


class Stopper:
    """Knows whether a search has to end, and why. Use `listening` around the search.

    Args:
        time_limit_s: seconds from now; None for no limit.
    """

    def __init__(self, time_limit_s: float | None = None) -> None:
        self._start = time.monotonic()
        self._limit = time_limit_s
        self._interruptible = False
        self.reason = ""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the search began."""
        return time.monotonic() - self._start

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the time limit; None without one."""
        return None if self._limit is None else max(0.0, self._limit - self.elapsed_s)

    def check(self) -> None:
        """End the search if somebody asked for it or the time is up.

        Raises:
            SearchOver: in that case.
        """
        if not self.reason and self.time_left_s == 0:
            self.reason = f"the time limit of {self._limit:g} s was reached"
        if self.reason:
            raise SearchOver(self.reason)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A section that a signal ends at once; elsewhere it waits for the next `check`.

        Raises:
            SearchOver: on a signal.
        """
        self.check()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """A part of an interruptible section that is done whole; then a wish to end, or the time limit, takes effect.

        Raises:
            SearchOver: at its end.
        """
        before, self._interruptible = self._interruptible, False
        try:
            yield
        finally:
            self._interruptible = before
        self.check()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to end; a second one ends the process as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.reason.startswith("stopped"):
            raise KeyboardInterrupt
        self.reason = f"stopped by {'Ctrl-C' if name == 'SIGINT' else name}"
        logger.info("%s: finishing; once more to end at once", self.reason)
        if self._interruptible:
            self._interruptible = False
            raise SearchOver(self.reason)
