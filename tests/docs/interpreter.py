"""Runs Python files, each in a fork of one process that has imported TensorFlow and used nothing of it.

A fork is a new interpreter to its file: it sees nothing of what other files did. What it spares is the import, which
takes seconds. Started as a program, it reads tasks from its standard input and answers each with an exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path


class Interpreter:
    """The process that forks, seen from the tests."""

    def __init__(self, env: dict[str, str]):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, __file__], env=env, **pipes)

    def run(self, script: Path, directory: Path) -> tuple[int, str]:
        """Exit code and output of a file that is run in a directory, which is also where it finds its modules."""
        output = script.with_suffix(".output")
        task = {"script": str(script), "directory": str(directory), "output": str(output)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline()
        assert code, "the process that forks has ended; its standard error says why"
        return int(code), output.read_text(encoding="utf-8")

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def become(script: str, directory: str, output: str) -> None:
    """Makes of this process one that was started for the script; whatever the script raises ends it."""
    for path, flags, streams in ((output, os.O_WRONLY | os.O_CREAT, (1, 2)), (os.devnull, os.O_RDONLY, (0,))):
        opened = os.open(path, flags)
        for stream in streams:
            os.dup2(opened, stream)
    os.chdir(directory)
    sys.path[0] = directory
    runpy.run_path(script, run_name="__main__")


def serve() -> None:
    """A fork for every task."""
    import tensorflow  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        if not (child := os.fork()):
            become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
