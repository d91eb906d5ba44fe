"""Modules of this package as programs of their own, whose memory the system has back when they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run_apart(
    module: str, words: Sequence[str], *, environment: Mapping[str, str] | None = None, hears: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a module as a program and waits for its end.

    Args:
        module: of this package.
        words: of its command line.
        environment: variables that it has, unless they are set already.
        hears: whether what it writes is returned, and not shown.
    """
    places = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    options: dict[str, Any] = {"capture_output": True} if hears else {}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**(environment or {}), **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        text=True,
        check=False,
        # Ctrl-C reaches this process alone, which then ends the other.
        start_new_session=True,
        **options,
    )


def ended_by(done: subprocess.CompletedProcess[str]) -> str:
    """How a program ended, in words."""
    return signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
