"""The worker processes of tools.worker_kills: started on one machine, listened to, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tools import kill_jobs

LAST = 24
# Gentle enough that rounding, which differs with the order of sums, does not grow from step to step.
_GENTLE = ("--learning_rate=0.02", "--temperature=0.5", "--global_bn=True")
_FLAGS = (
    *(flag for flag in kill_jobs.TINY if "batch_size" not in flag and "learning_rate" not in flag),
    *_GENTLE,
    "--train_batch_size=12",
    "--eval_batch_size=6",
    f"--train_steps={LAST}",
    f"--checkpoint_steps={kill_jobs.INTERVAL}",
    "--mode=train_then_eval",
)
_SECONDS = 600.0  # far more than anything takes; whoever needs longer hangs
_PATIENCE = 30.0


@dataclass
class Group:
    """The processes of a run: its workers, and where their output goes."""

    directory: pathlib.Path
    logs: list[pathlib.Path] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, count: int, log: str, late: Sequence[float] | None = None) -> None:
        """Starts workers on free ports, each so many seconds after the one before."""
        cluster, self.logs, self.processes = {"worker": _free_addresses(count)}, [], []
        for index in range(count):
            time.sleep(late[index] if late is not None else 0.0)
            config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}, allow_nan=False)
            root = str(kill_jobs.ROOT)
            more = {"TF_CONFIG": config, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
            words = [sys.executable, f"{root}/run.py", *_FLAGS, f"--model_dir={self.directory / 'run'}"]
            self.logs.append(self.directory / f"{log}{index}.log")
            with open(self.logs[-1], "wb") as file:
                self.processes.append(
                    subprocess.Popen(words, env=os.environ | more, stdout=file, stderr=subprocess.STDOUT)
                )

    def output(self, index: int) -> str:
        """What a worker has printed so far."""
        return self.logs[index].read_text(errors="replace")

    def wait_until(self, there: Callable[[], bool]) -> None:
        """Returns when it is so, or a worker has ended."""
        until = time.monotonic() + _SECONDS
        while not there() and all(process.poll() is None for process in self.processes) and time.monotonic() < until:
            time.sleep(0.002)

    def codes(self) -> list[int | None]:
        """Exit codes of all, once they have ended; None for one that hangs, which is killed."""
        until, found = time.monotonic() + _SECONDS, list[int | None]()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            found.append(process.poll())
        self.kill()
        return found

    def ask(self) -> None:
        """Ends those that have not ended after some seconds, as a supervisor does before it starts all again."""
        until = time.monotonic() + _PATIENCE
        while any(process.poll() is None for process in self.processes) and time.monotonic() < until:
            time.sleep(0.1)
        for process in self.processes:
            process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends whoever is left."""
        for process in self.processes:
            process.kill()
            process.wait()


def _free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
