"""Work in tasks whose results are kept: what an earlier call has done is not done again.

An evaluation is such work (a task is a protocol with a seed), and a study is (a task is a cell with a seed). Each keeps
its results in files of its own; what they have in common is here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tf_simclr.errors import InputError, StoppedError, UnwritableError
from tf_simclr.files import to_json

_Found = TypeVar("_Found")


def short_digest(values: Any) -> str:
    """12 hexadecimal digits that change with JSON values: a name for what depends on them."""
    return hashlib.sha256(to_json(values).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Task(Generic[_Found]):
    """One thing to do.

    Attributes:
        title: for a person.
        read: what an earlier call has kept of it; None where there is nothing that can be used.
        run: does it, and returns what it found.
        keep: writes what was found, whole or not at all.
        describe: what was found, a line each.
        work: how much it is, in any unit that is the same for all tasks; 0 for next to nothing.
    """

    title: str
    read: Callable[[], _Found | None]
    run: Callable[[], _Found]
    keep: Callable[[_Found], object]
    describe: Callable[[_Found], Sequence[str]]
    work: float = 0.0


def run_tasks(
    tasks: Sequence[Task[_Found]], *, say: Callable[[str], None], stop: Callable[[], bool]
) -> tuple[list[_Found], list[str]]:
    """Does what is not kept yet, in order.

    A task that cannot be done is a line, and the others are done all the same.

    Args:
        tasks: what to do.
        say: receives lines for the person who waits.
        stop: whether somebody asked to stop; asked after every task.

    Returns:
        what was found, in the order of the tasks, and a line for each task that failed.

    Raises:
        StoppedError: somebody asked to stop.
        UnwritableError: the disk is full, or may not be written.
    """
    kept = [task.read() for task in tasks]
    waiting = [number for number, found in enumerate(kept) if found is None]
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting)} of {len(tasks)} results are kept from an earlier call")
    failed: list[str] = []
    clock = _TimeLeft()
    for place, number in enumerate(waiting):
        task = tasks[number]
        left = clock.describe([tasks[other].work for other in waiting[place:]])
        say(f"[{len(tasks) - len(waiting) + place + 1}/{len(tasks)}] {task.title}{left}")
        began = time.perf_counter()
        try:
            found = task.run()
        except UnwritableError:
            raise  # nor could the others be kept
        except InputError as error:
            failed.append(f"{task.title}: {error}")
            say(f"error: {failed[-1]}; going on with the others")
            continue
        task.keep(found)
        kept[number] = found
        for line in task.describe(found):
            say(f"    {line}")
        clock.add(task.work, time.perf_counter() - began)
        if stop():
            raise StoppedError
    return [found for found in kept if found is not None], failed


class _TimeLeft:
    """Estimates the time that is left from the speed of what was done."""

    def __init__(self) -> None:
        self._work = self._seconds = 0.0

    def add(self, work: float, seconds: float) -> None:
        self._work += work
        self._seconds += seconds

    def describe(self, work: Sequence[float]) -> str:
        """Words on the time for this work; none as long as nothing is known."""
        if not self._work:
            return ""
        minutes = self._seconds / self._work * sum(work) / 60
        if minutes < 1:
            return "; less than a minute left"
        return f"; about {minutes:.0f} min left" if minutes < 120 else f"; about {minutes / 60:.1f} h left"
