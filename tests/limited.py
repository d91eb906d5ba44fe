"""Commands in processes of their own, whose files may have at most so many bytes, as on a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from tf_simclr.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def environment() -> dict[str, str]:
    """For a process that finds the library, and no GPU."""
    return os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}


def limited_run(task: str, size: int, flags: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a task; no file that it writes may have more than `size` bytes."""
    words = [sys.executable, "-c", LIMITED, str(size), task, *flags]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=600, check=False)
