"""Stopping a run between two steps when the machine, or the user, asks for it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopRequest:
    """Whether somebody asked the run to stop; true after SIGTERM or Ctrl-C inside `watch`."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait for the step to end
        self.signal_name = signal.Signals(number).name

    @contextlib.contextmanager
    def watch(self) -> Iterator[StopRequest]:
        """Takes SIGTERM and SIGINT over for as long as the context lasts; a no-op outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
