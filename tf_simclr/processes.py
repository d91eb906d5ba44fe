"""This machine and its processes, as the operating system describes them."""

from __future__ import annotations

import contextlib
import os
import socket

ENDED = "ended"
# The end of the name of a file that is being written.
TEMPORARY = ".tmp"


def machine() -> str:
    """What changes with every start of the machine, and with the container; empty where nothing says."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def exists(pid: int) -> bool:
    """Whether there is a process of this number, of whatever user."""
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def started(pid: int) -> str:
    """When a process started; ENDED for one that only waits for its parent to take notice of its end."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()  # the name before may hold spaces and brackets
        return ENDED if fields[0] in ("Z", "X") else fields[19]
    return ""


def own_mark() -> str:
    """What the name of an unfinished file or folder says of this process: its machine and number."""
    return f"{socket.gethostname()}-{os.getpid()}"


def temporary_of(path: str) -> str:
    """Where a file is written before it takes its name."""
    return f"{path}.{own_mark()}{TEMPORARY}"


def may_live(host: str, pid: int) -> bool:
    """Whether the process that a name says may still be at work; one on another machine cannot be asked."""
    if host != socket.gethostname():
        return True
    if pid == os.getpid():
        return False  # of an earlier failure of this one, or of a process that had the same number
    return os.name != "posix" or exists(pid)
