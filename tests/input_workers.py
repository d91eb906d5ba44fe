"""Input workers in processes of their own.

One inside the process of the tests must not be given what Python decodes: where it ends while Python is asked for a
header, each waits for the other.
"""

from __future__ import annotations

import functools
import subprocess
import sys


class WorkerProcess:
    """`python -m tf_simclr input_worker` on free ports of this machine."""

    def __init__(self):
        command = [sys.executable, "-m", "tf_simclr", "input_worker", "--port=0", "--host=localhost"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    @functools.cached_property
    def address(self):
        line = next(line for line in self.process.stdout if "--input_workers=" in line)
        return line.split("--input_workers=")[1].split()[0]

    def kill(self):
        self.process.kill()
        self.process.wait()
