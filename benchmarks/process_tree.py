"""Seconds and memory of a command with all processes that it starts: python -m benchmarks.process_tree 3 COMMAND ...

Memory is the sum of the processes' PSS, of which pages that several share count once, looked at every 20 ms. It needs
Linux. A command is run as often as the first word says. `{}` in it is replaced by a directory that does not exist yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.alternate import Spread

_SECONDS_BETWEEN = 0.02
_PSS = "Pss:"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: by the clock.
        cpu: seconds of all processes.
        together: most that all processes held at once, in GB.
        largest: most that one of them held, in GB.
    """

    seconds: float
    cpu: float
    together: float
    largest: float


def cost(command: Sequence[str]) -> Cost:
    """Runs a command to its end and looks at its processes meanwhile.

    Args:
        command: words; what it writes to standard output is left out.

    Raises:
        SystemExit: it failed.
    """
    began, cpu, together, largest = time.perf_counter(), _cpu_of_ended(), 0, 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        held = [_pss(number) for number in (process.pid, *_below(process.pid))]
        together, largest = max(together, sum(held)), max(largest, *held)
        time.sleep(_SECONDS_BETWEEN)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended by exit code {process.returncode}")
    return Cost(time.perf_counter() - began, _cpu_of_ended() - cpu, together / 1e9, largest / 1e9)


def _cpu_of_ended() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _below(number: int) -> Iterator[int]:
    """The processes that a process started, and those that they started."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{number}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from _below(child)


def _pss(number: int) -> int:
    """Bytes that a process holds; of pages that several hold, its share."""
    with contextlib.suppress(OSError):  # it has ended
        for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
            if line.startswith(_PSS):
                return int(line.split()[1]) * 1024
    return 0


def main(words: Sequence[str]) -> None:
    """Prints a row."""
    costs = []
    for _ in range(int(words[0])):
        with tempfile.TemporaryDirectory() as scratch:
            costs.append(cost([word.replace("{}", f"{scratch}/new") for word in words[1:]]))
    columns = [str(Spread.of([getattr(found, field.name) for found in costs])) for field in dataclasses.fields(Cost)]
    print(
        "| seconds | CPU seconds | memory of all, GB | of the largest process, GB |",
        f"| {' | '.join(columns)} |",
        sep="\n",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
