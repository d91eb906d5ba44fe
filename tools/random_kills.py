"""Kills commands at random moments and looks for losses: python -m tools.random_kills --kills=100 --seed=0

Trainings, evaluations, studies and conversions, as tiny as they can be, are met by SIGKILL, SIGTERM, SIGINT, two SIGINT
and a full disk. The moment is drawn from the seed, of what an uninterrupted command prints and how long it takes. One
command is started again and met again, up to four times, and then left alone. After every fault: no traceback, the
exit code that docs/reliability.md lists, no checkpoint or result is lost. At the end: the same bits as without any
fault, and nothing unfinished. As root the disk is a file system of its own; else a limit on the size of files stands
for it. The same seed draws the same faults; where in the work they come depends on the machine, too.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tools import faults, kill_jobs
from tools.kill_jobs import Job

SHARES = {"train": 4, "evaluate": 2, "study": 2, "convert": 1}
_MOST_A_ROUND = 4
_SLOWEST_END = 30.0  # what supervisors wait between asking and killing


@dataclass
class Tally:
    """What came out of the faults.

    Attributes:
        faults: (job, fault, exit code) -> how often.
        problems: a line each.
        rounds: job -> commands that were met by faults and led to their end.
        lost: the most steps of a training that a fault undid.
        slowest: seconds from a signal that can be heard to the end, at most.
    """

    faults: collections.Counter[tuple[str, str, int]] = field(default_factory=collections.Counter)
    problems: list[str] = field(default_factory=list)
    rounds: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: int = 0
    slowest: float = 0.0

    @property
    def kills(self) -> int:
        """Faults that met a command that was still there."""
        return sum(self.faults.values())

    def lines(self, minutes: float) -> list[str]:
        """What came out, for a person."""
        rounds = ", ".join(f"{count} of {name}" for name, count in sorted(self.rounds.items()))
        return [
            self.table(),
            f"{self.kills} faults in {rounds}; {len(self.problems)} problems; at most {self.lost} steps done again (a "
            f"checkpoint every {kill_jobs.INTERVAL}); {self.slowest:.1f} s from a signal to the end at most; "
            f"{minutes:.0f} min",
        ]

    def table(self) -> str:
        """A table for the documentation."""
        codes = collections.defaultdict[tuple[str, str], collections.Counter[int]](collections.Counter)
        for (job, fault, code), count in self.faults.items():
            codes[job, fault][code] += count
        rows = [
            f"| {job} | {fault} | {found.total()} | {', '.join(f'{c}: {n}' for c, n in sorted(found.items()))} |"
            for (job, fault), found in sorted(codes.items())
        ]
        return "\n".join(["| command | fault | times | exit codes |", "|---|---|---|---|", *rows])


@dataclass
class Reference:
    """An uninterrupted command: its directory, and when it printed its lines."""

    directory: pathlib.Path
    times: list[float]
    size: int


class Kills:
    """A series of faults.

    Args:
        seed: draws them.
        scratch: a directory for the runs.
        say: receives a line a start.
    """

    def __init__(self, seed: int, scratch: pathlib.Path, say: Callable[[str], None] = print):
        self._rng, self._scratch, self._say = random.Random(seed), scratch, say
        self._references: dict[str, Reference] = {}
        self._rounds = 0
        self.tally = Tally()

    def run(self, kills: int, names: list[str]) -> Tally:
        """Meets commands of these jobs until so many faults have met one."""
        known = kill_jobs.jobs()
        for name in dict.fromkeys(["train", *names]):
            self._references[name] = self._uninterrupted(known[name])
        while self.tally.kills < kills:
            name = self._rng.choices(names, [SHARES[name] for name in names])[0]
            self._round(known[name], min(self._rng.randint(1, _MOST_A_ROUND), kills - self.tally.kills))
        return self.tally

    def _uninterrupted(self, job: Job) -> Reference:
        directory = self._scratch / "uninterrupted" / job.name / "out"
        directory.parent.mkdir(parents=True)
        ended = faults.run(job.words(directory, self._trained()), None, None)
        if ended.code:
            raise RuntimeError(f"{job.name} does not work at all: {ended.errors[-2000:]}")
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        self._say(f"{job.name}: {ended.times[-1]:.1f} s without a fault, {len(ended.times)} moments, {size} bytes")
        return Reference(directory, ended.times, size)

    def _trained(self) -> pathlib.Path:
        return self._scratch / "uninterrupted" / "train" / "out"

    def _round(self, job: Job, most: int) -> None:
        """One command, met up to so often, and then led to its end."""
        self._rounds += 1
        place = self._scratch / f"round{self._rounds}"
        with faults.small_disk(place) as disk:
            directory = place / "out"
            for _ in range(most):
                if not self._start(job, directory, self._rng.choice(faults.FAULTS), disk) or _is_whole(job, directory):
                    break  # it came to its end before the fault
            if not _is_whole(job, directory):
                self._start(job, directory, None, disk)
            self._compare(job, directory)
        self.tally.rounds[job.name] += 1

    def _start(self, job: Job, directory: pathlib.Path, fault: str | None, disk: bool) -> bool:
        """Starts the command once; returns whether a fault met it."""
        reference, before = self._references[job.name], job.saved(directory)
        moment = faults.draw_moment(self._rng, reference.times)
        share, pause = self._rng.random(), self._rng.random()
        largest = int(share * 0.5 * reference.size) if fault == faults.DISK and not disk else None
        if fault == faults.DISK and disk:
            faults.resize(directory.parent, int(share * reference.size))
        ended = faults.run(job.words(directory, self._trained()), fault, moment, pause=pause, largest=largest)
        if fault == faults.DISK and disk:
            faults.resize(directory.parent, None)
        met = ended.struck or (fault == faults.DISK and ended.code != 0)
        self._check(job, directory, fault if met else None, before, ended)
        name = fault or "none"
        self._say(
            f"round {self._rounds} {job.name}: {name}{'' if met or not fault else ' (too late)'} after "
            f"{len(ended.times) - 1} lines, {ended.times[-1]:.1f} s: exit code {ended.code}, saved {before} -> "
            f"{job.saved(directory)}"
        )
        return met

    def _check(self, job: Job, directory: pathlib.Path, fault: str | None, before: int, ended: faults.Ended) -> None:
        tally, after = self.tally, job.saved(directory)
        where = f"round {self._rounds}, {job.name}, {fault or 'no fault'}, code {ended.code}"
        allowed = [0] if fault is None else [*faults.EXPECTED[fault]] + [0] * (fault != faults.DISK)
        # Ctrl-C may break off Python's own start, before it reads a line of ours: with this code, and a traceback.
        if fault in ("SIGINT", faults.TWICE) and "Fatal Python error: init" in ended.errors:
            allowed.append(1)
        problems = [] if ended.code in allowed else [f"the exit code is not of {allowed}"]
        if "Traceback" in ended.errors + ended.output and ("tf_simclr" in ended.errors or len(ended.times) > 1):
            problems.append("a traceback")
        if after < before:
            problems.append(f"{before} were saved before, {after} are now")
        said = job.goes_on.search(ended.output)
        if said is not None and int(said[1]) != before:
            problems.append(f"it went on from {said[1]}, and {before} were saved")
        if job.done is not None and fault is not None:
            tally.lost = max(tally.lost, job.done(directory) - after)
            if job.done(directory) - after > kill_jobs.INTERVAL:
                problems.append(f"step {job.done(directory)} was done, and {after} is saved")
        if fault in ("SIGTERM", "SIGINT", faults.TWICE):
            tally.slowest = max(tally.slowest, ended.to_end)
            # A machine that is so busy that the whole command takes longer is no measure.
            if ended.to_end > max(_SLOWEST_END, self._references[job.name].times[-1]):
                problems.append(f"it took {ended.to_end:.0f} s to end")
        if fault is not None:
            tally.faults[job.name, fault, ended.code] += 1
        for problem in problems:
            self._problem(f"{where}: {problem}\n{ended.output[-1500:]}\n{ended.errors[-3000:]}")

    def _compare(self, job: Job, directory: pathlib.Path) -> None:
        found = kill_jobs.differences(self._references[job.name].directory, directory)
        found += [f"{name} is unfinished" for name in kill_jobs.unfinished(directory)]
        if found:
            self._problem(f"round {self._rounds}, {job.name}, at the end: {'; '.join(found[:20])}")

    def _problem(self, text: str) -> None:
        self.tally.problems.append(text)
        self._say(f"PROBLEM {text}")


def _is_whole(job: Job, directory: pathlib.Path) -> bool:
    """Whether a conversion is done, which must be new and is refused a second time."""
    return job.name == "convert" and directory.exists()


def main(argv: list[str] | None = None) -> int:
    """Runs a series and prints its table; the exit code is 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default=",".join(SHARES), help="comma-separated names of commands")
    given = parser.parse_args(argv)
    began = time.monotonic()

    def say(line: str) -> None:
        print(line, flush=True)

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that disks are unmounted then, too
    with tempfile.TemporaryDirectory(prefix="random_kills_") as scratch:
        kills = Kills(given.seed, pathlib.Path(scratch), say)
        try:
            kills.run(given.kills, given.jobs.split(","))
        finally:
            for line in kills.tally.lines((time.monotonic() - began) / 60):
                say(line)
    return 1 if kills.tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
