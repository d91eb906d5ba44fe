"""One process at a time in a directory: a lock file with who holds it, and a heartbeat that says it still does.

Whether the owner lives is asked of the operating system where the owner is a process of this machine. Of another
machine only the heartbeat tells: its number changes every few seconds. No clocks are compared. It needs no TensorFlow
for local directories, so that a directory in use is refused before TensorFlow is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from tf_simclr.config.paths import is_remote
from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of
from tf_simclr.processes import ENDED, exists, machine, started
from tf_simclr.stored import DamagedFileError, parse_object, require_types
from tf_simclr.unfinished import remove_left_files

LOCK_FILE = "lock.json"
BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
_ANY_LOCK = re.compile(r"lock(-\d+-of-\d+)?\.json")


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        host: name of the machine.
        machine: changes with every start of the machine, and with the container; empty where nothing says.
        pid: number of the process.
        started: when the process started, in the machine's own units; empty where nothing says. Numbers of processes
            are used again.
        since: date and time, for a person.
        token: of this lock alone.
        beat: counts the heartbeats.
    """

    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str
    beat: int = 0

    @classmethod
    def this_process(cls) -> Owner:
        """This process, with a new token."""
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        pid = os.getpid()
        return cls(socket.gethostname(), machine(), pid, started(pid), since, uuid.uuid4().hex)

    def lives(self) -> bool | None:
        """Whether the process is still there; None where this machine cannot know."""
        if (self.host, self.machine) != (socket.gethostname(), machine()):
            return None
        if not exists(self.pid):
            return False
        now = started(self.pid)
        return now != ENDED and now == self.started


class DirectoryLock:
    """Keeps other processes of this program out of a directory, from `acquire` to `release`.

    Args:
        directory: local, or of any file system that TensorFlow knows. Object stores make no file exclusively: of two
            processes that begin there within the same moment both may go on.
        say: receives a line where a dead owner's lock is taken over.
        name: of the lock file.
        beside: pattern of the names of locks that others may hold at the same time.
        beat_seconds: between two heartbeats.
        dead_after: seconds without a heartbeat after which an owner on another machine counts as dead.
    """

    def __init__(
        self,
        directory: str,
        say: Callable[[str], None],
        *,
        name: str = LOCK_FILE,
        beside: str = "",
        beat_seconds: float = BEAT_SECONDS,
        dead_after: float = DEAD_AFTER_SECONDS,
    ):
        self._directory, self._say, self._name = directory, say, name
        self._beside = re.compile(beside)
        self._beat_seconds, self._dead_after = beat_seconds, dead_after
        self._own: Owner | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> DirectoryLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Takes the lock, and makes the directory where there is none.

        Raises:
            InputError: another process has it.
        """
        files = file_system_of(self._directory)
        files.make(self._directory)
        with _one_at_a_time(self._directory):
            self.require_free()
            remove_left_files(self._directory)  # by the one who has it: another thread may be writing until then
            self._own = Owner.this_process()
            files.write(self._path(self._name), _to_bytes(self._own))
        self._ended.clear()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def require_free(self) -> None:
        """Removes the locks of dead owners, with a line.

        Raises:
            InputError: an owner lives.
        """
        for name in sorted(_locks_in(self._directory)):
            if name == self._name or not self._beside.fullmatch(name):
                self._require_dead(self._path(name))

    def release(self) -> None:
        """Gives the lock back; nothing where it is not held."""
        if self._own is None:
            return
        self._ended.set()
        if self._thread is not None:  # None where writing the lock failed
            self._thread.join()
        path = self._path(self._name)
        with contextlib.suppress(*_unreadable()):
            found = _read(path)
            if found is not None and found.token == self._own.token:
                file_system_of(path).remove(path)
        self._own = None

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _require_dead(self, path: str) -> None:
        try:
            owner = _read(path)
        except DamagedFileError:
            owner = None
        if owner is not None:
            lives = owner.lives()
            if lives or (lives is None and self._beats(path, owner)):
                raise _in_use(self._directory, owner)
            self._say(
                f"note: process {owner.pid} on {owner.host}, which had {self._directory} since {owner.since}, has "
                "ended without giving it back: it is taken over"
            )
        files = file_system_of(path)
        if files.exists(path):
            files.remove(path)

    def _beats(self, path: str, owner: Owner) -> bool:
        """Whether the lock of a process elsewhere changes; waits until it does, or the owner counts as dead."""
        self._say(
            f"note: {self._directory} is in use by process {owner.pid} on {owner.host}, unless it was killed: waiting "
            f"up to {self._dead_after:.0f} s for a sign of it"
        )
        until = time.monotonic() + self._dead_after
        while time.monotonic() < until:
            time.sleep(min(1.0, self._beat_seconds / 4))
            now = _read(path)
            if now is None:
                return False
            if now != owner:
                return True
        return False

    def _beat(self) -> None:
        """Counts up in the file, until the lock is released or another process has it."""
        path = self._path(self._name)
        while not self._ended.wait(self._beat_seconds):
            with contextlib.suppress(*_unreadable()):  # a disk that is full for a moment: the next counts
                found = _read(path)
                assert self._own is not None
                if found is not None and found.token != self._own.token:
                    self._say(
                        f"error: process {found.pid} on {found.host} has taken {self._directory} over, since this one "
                        "gave no sign for too long. Stop one of them"
                    )
                    return
                self._own = dataclasses.replace(self._own, beat=self._own.beat + 1)
                file_system_of(path).write(path, _to_bytes(self._own))


def refuse_if_in_use(directory: str) -> None:
    """Looks whether a process of this machine works in a local directory; waits for nothing and writes nothing.

    Raises:
        InputError: one does.
    """
    if is_remote(directory):
        return
    path = os.path.join(directory, LOCK_FILE)
    try:
        owner = _read(path)
    except (OSError, DamagedFileError):
        return
    if owner is not None and owner.lives():
        raise _in_use(directory, owner)


def _in_use(directory: str, owner: Owner) -> InputError:
    return InputError(
        f"`model_dir` must be a directory in which nothing runs: process {owner.pid} on {owner.host} has it since "
        f"{owner.since}. Received: model_dir={directory}. Wait until it ends, stop it, or pass another --model_dir"
    )


def _to_bytes(owner: Owner) -> bytes:
    return (json.dumps(dataclasses.asdict(owner), indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _read(path: str) -> Owner | None:
    """The owner in a lock file; None where there is none.

    Raises:
        DamagedFileError: it says of no owner.
    """
    files = file_system_of(path)
    if not files.exists(path):
        return None
    values = parse_object(files.read(path), path)
    require_types(values, Owner, path)
    try:
        return Owner(**values)
    except TypeError as error:
        raise DamagedFileError(f"{path} is damaged: {error}. Received: {path}. Remove it") from error


def _unreadable() -> tuple[type[Exception], ...]:
    """What a file system may raise, of which TensorFlow's only where it is in use."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError, DamagedFileError, *([tensorflow.errors.OpError] if tensorflow is not None else []))


def _locks_in(directory: str) -> list[str]:
    return [name for name in file_system_of(directory).names(directory) if _ANY_LOCK.fullmatch(name)]


@contextlib.contextmanager
def _one_at_a_time(directory: str) -> Iterator[None]:
    """Only one process of this machine, or of a network disk that knows locks, is in here for a directory."""
    descriptor = None
    if not is_remote(directory):
        with contextlib.suppress(ImportError, OSError):  # another system, or a disk without such locks
            import fcntl

            descriptor = os.open(directory, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
