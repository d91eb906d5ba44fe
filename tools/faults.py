"""Faults for tools.random_kills: signals at a moment that is drawn, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
TWICE, DISK = "SIGINT twice", "full disk"
FAULTS = (*SIGNALS, TWICE, DISK)
# What a command may end with after a fault; a number below 0 is a signal that came before the program could hear it.
EXPECTED = {
    "SIGKILL": (-9,),
    "SIGTERM": (143, -15),
    "SIGINT": (130, -2),
    TWICE: (130, -2),
    DISK: (74,),
}
_SECONDS = 900.0  # far more than any of the commands takes


@dataclass
class Ended:
    """How a start of a command ended.

    Attributes:
        code: exit code; below 0 the signal that ended it.
        output: of stdout.
        errors: of stderr.
        times: seconds from the start to each line of stdout, and to the end.
        struck: whether it was still there when the signal was sent.
        to_end: seconds from the signal to the end.
    """

    code: int
    output: str
    errors: str
    times: list[float]
    struck: bool = False
    to_end: float = 0.0


@dataclass(frozen=True)
class Moment:
    """After so many lines of output, and so many seconds more."""

    lines: int
    seconds: float


def draw_moment(rng: random.Random, times: list[float]) -> Moment:
    """A moment of a command whose lines and end came at these times: half of them evenly over the lines it prints.

    The other half is even over its time. Lines say where the work is, and the time between them where it lingers.
    """
    if rng.random() < 0.5:
        line = rng.randrange(len(times))
        before = times[line - 1] if line else 0.0
        return Moment(line, rng.random() * (times[line] - before))
    at = rng.random() * times[-1]
    line = sum(time <= at for time in times[:-1])
    return Moment(line, at - (times[line - 1] if line else 0.0))


@dataclass
class _Started:
    process: subprocess.Popen[str]
    began: float
    lines: queue.Queue[str | None] = field(default_factory=queue.Queue)
    kept: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def listen(self) -> list[threading.Thread]:
        def read_output() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.times.append(time.monotonic() - self.began)
                self.kept.append(line)
                self.lines.put(line)
            self.lines.put(None)

        def read_errors() -> None:
            assert self.process.stderr is not None
            self.errors.extend(self.process.stderr)

        threads = [threading.Thread(target=each, daemon=True) for each in (read_output, read_errors)]
        for thread in threads:
            thread.start()
        return threads


def run(
    words: list[str], fault: str | None, moment: Moment | None, *, pause: float = 0.0, largest: int | None = None
) -> Ended:
    """Starts a command, and has a fault meet it.

    Args:
        words: of the command.
        fault: of FAULTS; None or DISK send no signal.
        moment: when a signal is sent.
        pause: seconds between the two signals of TWICE.
        largest: bytes that a file may have; None for no limit.
    """
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = str(pathlib.Path(__file__).parents[1])
    piped = subprocess.PIPE
    limit: Callable[[], None] | None = None
    if largest is not None:

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    began = time.monotonic()
    process = subprocess.Popen(words, env=environment, stdout=piped, stderr=piped, text=True, preexec_fn=limit)
    started = _Started(process, began)
    threads = started.listen()
    struck = to_end = 0.0
    try:
        if moment is not None and fault not in (None, DISK):
            _wait_for(moment, started)
            struck = _strike(process, fault or "", pause)
        process.wait(_SECONDS)
    finally:
        process.kill()
        process.wait()
    ended = time.monotonic()
    to_end = ended - struck if struck else 0.0
    for thread in threads:
        thread.join()
    times = [*started.times, ended - began]
    return Ended(process.returncode, "".join(started.kept), "".join(started.errors), times, bool(struck), to_end)


def _wait_for(moment: Moment, started: _Started) -> None:
    for _ in range(moment.lines):
        if started.lines.get(timeout=_SECONDS) is None:  # it printed less this time, and is about to end
            started.process.wait(_SECONDS)
            return
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.process.wait(moment.seconds)


def _strike(process: subprocess.Popen[str], fault: str, pause: float) -> float:
    """Sends the signal; returns when, and 0 where the process had ended already."""
    if process.poll() is not None:
        return 0.0
    process.send_signal(SIGNALS["SIGINT" if fault == TWICE else fault])
    struck = time.monotonic()
    if fault == TWICE:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    return struck


# ---- A disk that is full ----


def can_mount() -> bool:
    """Whether this process may mount file systems."""
    return os.geteuid() == 0 and subprocess.run(["which", "mount"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(directory: pathlib.Path) -> Iterator[bool]:
    """A file system of its own for a directory, in memory; yields whether there is one."""
    directory.mkdir(parents=True)
    if not can_mount() or _mount("-t", "tmpfs", "-o", "size=256m", "tmpfs", str(directory)):
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def resize(directory: pathlib.Path, room: int | None) -> None:
    """Leaves so many bytes of room on a small disk; None for as many as it had at first."""
    status = os.statvfs(directory)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    size = 256 * 2**20 if room is None else used + max(room, status.f_frsize)
    if _mount("-o", f"remount,size={size}", str(directory)):
        raise RuntimeError(f"the disk at {directory} could not be made {size} bytes large")


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode
