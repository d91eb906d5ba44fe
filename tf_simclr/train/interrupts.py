"""Stopping a task when the machine, or the user, asks for it: between two steps, or at once where nothing is lost."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from tf_simclr.ctrl_c import hear
from tf_simclr.errors import StoppedError

EXIT_CODES = {"SIGTERM": 143, "SIGINT": 130}
# Supervisors wait 30 s between asking and killing. Compiling a graph may take longer, and cannot be interrupted.
_SECONDS_TO_END = 20.0
_watching: list[StopRequest] = []


class StopRequest:
    """Whether somebody asked to stop; true after SIGTERM or Ctrl-C inside `watch`."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._at_once = False

    def __bool__(self) -> bool:
        return self.signal_name is not None

    @property
    def overdue(self) -> bool:
        """Whether a request came in work that should have ended at once."""
        return bool(self) and self._at_once

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        first = not self
        if not first and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait for the step to end
        self.signal_name = signal.Signals(number).name
        if first and self._at_once:
            raise StoppedError

    @contextlib.contextmanager
    def watch(self) -> Iterator[StopRequest]:
        """Takes SIGTERM and SIGINT over for as long as the context lasts; a no-op outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        _watching.append(self)
        try:
            yield self
        finally:
            _watching.remove(self)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For work that can be broken off anywhere, and is done again: the first signal in it raises StoppedError.

        TensorFlow may call Python from its own code, and makes another error of what is raised there: whatever error
        follows the signal counts as StoppedError.
        """
        asked_before = bool(self)
        try:
            with self._raising(True):
                yield
        except Exception as error:
            if asked_before or not self:
                raise
            raise StoppedError from error

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """For work that asks this request whenever it can stop: a signal in it raises nothing."""
        with self._raising(False):
            yield

    @contextlib.contextmanager
    def left_to_the_system(self) -> Iterator[None]:
        """For work in which Python cannot run at all, and of which nothing is kept: a signal ends the process.

        TensorFlow holds Python's lock while it waits for other workers: neither a handler nor a thread gets its turn.
        It also takes SIGTERM over meanwhile, so that only Ctrl-C and SIGKILL end it.

        Raises:
            StoppedError: a signal came before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self:
                raise StoppedError
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _raising(self, at_once: bool) -> Iterator[None]:
        before, self._at_once = self._at_once, at_once
        try:
            yield
        finally:
            self._at_once = before


def exit_code_of(stop: StopRequest) -> tuple[str, int]:
    """The signal that stopped a task, and the exit code of a program that it ends."""
    name = stop.signal_name or "SIGTERM"
    return name, EXIT_CODES[name]


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """For a program that is nothing but its task: a second Ctrl-C ends the process at once, without a traceback.

    Python runs signal handlers between two of its own instructions only, and TensorFlow may compute for minutes within
    one. A thread hears of the signals as they come. It also ends a process that was asked to stop in work which can be
    broken off anywhere, and has not stopped after 20 s.

    Outside of `StopRequest.watch`, where nothing has begun yet, SIGTERM raises StoppedError.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, _raise_stopped)
    ctrl_c = signal.getsignal(signal.SIGINT)
    hear()
    heard: list[str] = []
    thread = threading.Thread(target=_listen, args=(reading, heard), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(before)
        if ctrl_c is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(writing)
        thread.join()
        os.close(reading)
        if heard:  # what is left is the end of the interpreter, which would show a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise StoppedError


def _listen(reading: int, heard: list[str]) -> None:
    """Reads the numbers of signals until the pipe is closed."""
    names = {int(signal.Signals[name]): name for name in EXIT_CODES}
    while True:
        ready, _, _ = select.select([reading], [], [], _SECONDS_TO_END if heard else None)
        if not ready:
            if any(request.overdue for request in _watching):
                _end(heard[0], "ended in the middle of what it was computing; what was saved before is kept")
            continue
        number = os.read(reading, 1)
        if not number:
            return
        name = names.get(number[0])
        if name == "SIGINT" and heard:
            _end(name, "ended at once; the last checkpoint and the results that were kept before stay")
        if name is not None:
            heard.append(name)


def _end(name: str, what: str) -> None:
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress line hides the cursor
    os.write(2, f"{shown}\n{name} received: {what}\n".encode())
    os._exit(EXIT_CODES[name])
