"""Ctrl-C while a program is loaded, before it can answer: the process ends, without a traceback of half an import."""

from __future__ import annotations

import signal


def end_at_once() -> None:
    """Has Ctrl-C end the process as the operating system does, exit code 130 in a shell, until `hear` is called.

    A process that ignores Ctrl-C, as one in the background of a script, goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def hear() -> None:
    """Has Ctrl-C raise KeyboardInterrupt again, where `end_at_once` was called; for the main thread."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
