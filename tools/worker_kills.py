"""Kills workers of a run and starts all again: python -m tools.worker_kills --rounds=20 --seed=0

Two or three workers train and evaluate together on one machine. One of them is killed at a random moment: while they
connect, while they train, while a checkpoint is saved, or after the last one. The others must end by themselves with
the code that says so. All are then started again, one of them some seconds late, and must end well, go on from the
newest checkpoint, and come to the weights of workers that nothing happened to.
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

import numpy as np
import tensorflow as tf

from tools import kill_jobs
from tools.worker_group import LAST, Group

PHASES = ("connecting", "training", "saving", "evaluation")
EXIT_LOST = 75
_LATE = 20.0


def weights(directory: pathlib.Path) -> dict[str, np.ndarray]:
    """The values of the last checkpoint."""
    reader = tf.train.load_checkpoint(str(directory / "run" / f"ckpt-{LAST}"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("variables/")]
    return {name: reader.get_tensor(name) for name in names}


@dataclass
class Tally:
    """What came out: counts of phases, exit codes of those that lost a worker, seconds they took to end, problems."""

    phases: collections.Counter[tuple[int, str]] = field(default_factory=collections.Counter)
    codes: collections.Counter[int | None] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    lost: int = 0
    identical: int = 0
    furthest: float = 0.0
    problems: list[str] = field(default_factory=list)

    def lines(self, minutes: float) -> list[str]:
        """What came out, for a person."""
        rounds = [f"| {count} workers | {phase} | {times} |" for (count, phase), times in sorted(self.phases.items())]
        return [
            *(f"PROBLEM {problem}" for problem in self.problems),
            *rounds,
            f"the others' exit codes: {dict(self.codes)}, {self.slowest:.1f} s after the kill at most",
            f"{self.phases.total()} rounds; {len(self.problems)} problems; at most {self.lost} steps done again (a "
            f"checkpoint every {kill_jobs.INTERVAL}); weights identical in {self.identical}, else at most "
            f"{self.furthest:.1e} apart; {minutes:.0f} min",
        ]


class WorkerKills:
    """A series of rounds.

    Args:
        seed: draws them.
        scratch: a directory for the runs.
        say: receives a line a round.
    """

    def __init__(self, seed: int, scratch: pathlib.Path, say: Callable[[str], None] = print):
        self._rng, self._scratch, self._say = random.Random(seed), scratch, say
        self._wanted: dict[int, dict[str, np.ndarray]] = {}
        self._began: dict[int, float] = {}
        self.tally = Tally()

    def run(self, rounds: int) -> Tally:
        """Runs so many rounds."""
        for number in range(rounds):
            count = self._rng.choice((2, 2, 3))
            if count not in self._wanted:
                self._uninterrupted(count)
            self._round(number, count, PHASES[number % len(PHASES)])
        return self.tally

    def _uninterrupted(self, count: int) -> None:
        group = self._group(f"uninterrupted{count}")
        began = time.monotonic()
        group.start(count, "whole")
        group.wait_until(lambda: "training from step" in group.output(0))
        self._began[count] = time.monotonic() - began
        codes = group.codes()
        if codes != [0] * count:
            raise RuntimeError(f"{count} workers do not work at all: {codes}\n{group.output(0)[-3000:]}")
        self._wanted[count] = weights(group.directory)
        self._say(f"{count} workers: {time.monotonic() - began:.0f} s without a fault")

    def _group(self, name: str) -> Group:
        directory = self._scratch / name
        directory.mkdir()
        return Group(directory)

    def _round(self, number: int, count: int, phase: str) -> None:
        group, victim = self._group(f"round{number}"), self._rng.randrange(count)
        try:
            group.start(count, "first")
            self._reach(group, count, phase)
            met = group.processes[victim].poll() is None
            group.processes[victim].send_signal(signal.SIGKILL)
            struck = time.monotonic()
            if phase == "connecting":  # who waits for a worker that never comes has no way to know
                group.ask()
            codes = group.codes()
            took = time.monotonic() - struck
            saved = kill_jobs.newest_checkpoint(group.directory / "run")
            self._check_loss(group, f"round {number}, {count} workers, {phase}", victim, codes, saved)
            late = [0.0] * count
            late[self._rng.randrange(1, count)] = self._rng.random() * _LATE
            group.start(count, "second", late)
            self._check_end(group, f"round {number}, {count} workers, {phase}", group.codes(), saved, count)
        finally:
            group.kill()
        self.tally.phases[count, phase if met else "too late"] += 1
        self.tally.slowest = max(self.tally.slowest, took)
        self._say(
            f"round {number}: worker {victim} of {count} killed while {phase}{'' if met else ' (too late)'}: {codes} "
            f"after {took:.1f} s, step {saved} is saved; one started {max(late):.0f} s late; "
            f"{len(self.tally.problems)} problems so far"
        )

    def _reach(self, group: Group, count: int, phase: str) -> None:
        run, share = group.directory / "run", self._rng.random()
        if phase == "connecting":
            time.sleep(share * self._began[count])
            return
        step = kill_jobs.INTERVAL * self._rng.randint(1, LAST // kill_jobs.INTERVAL - 1)
        if phase == "training":
            group.wait_until(lambda: "training from step" in group.output(0))
            time.sleep(share * 6.0)
        elif phase == "saving":
            began = (f"ckpt-{step}_temp", f"ckpt-{step}.index", f"ckpt-{step}.data-00000-of-00001")
            group.wait_until(lambda: any((run / name).exists() for name in began))
        else:
            group.wait_until(lambda: (run / f"ckpt-{LAST}.checksums.json").exists())
            time.sleep(share * 5.0)

    def _check_loss(self, group: Group, where: str, victim: int, codes: list[int | None], saved: int) -> None:
        tally, asked = self.tally, "connecting" in where
        for index, code in enumerate(codes):
            if index == victim:
                continue
            tally.codes[code] += 1
            if code not in (0, EXIT_LOST) and not (asked and code in (130, -2)):
                tally.problems.append(f"{where}: worker {index} ended with {code}\n{group.output(index)[-3000:]}")
            if "Traceback" in group.output(index):
                tally.problems.append(f"{where}: a traceback of worker {index}\n{group.output(index)[-3000:]}")
        lost = max(0, kill_jobs.newest_event(group.directory / "run") - saved)
        tally.lost = max(tally.lost, lost)
        if lost > kill_jobs.INTERVAL:
            tally.problems.append(f"{where}: {lost} steps are lost")

    def _check_end(self, group: Group, where: str, codes: list[int | None], saved: int, count: int) -> None:
        tally, output = self.tally, group.output(0)
        if codes != [0] * count:
            tally.problems.append(f"{where}: started again, they end with {codes}\n{output[-3000:]}")
            return
        if saved and f"resuming from step {saved} " not in output:
            tally.problems.append(f"{where}: step {saved} was saved\n{output[-3000:]}")
        want, got = self._wanted[count], weights(group.directory)
        apart = max(float(np.abs(got[name].astype(float) - want[name]).max(initial=0)) for name in want)
        tally.identical += all(np.array_equal(got[name], want[name]) for name in want)
        tally.furthest = max(tally.furthest, apart)
        if want.keys() != got.keys() or apart > 1e-3:
            tally.problems.append(f"{where}: the weights are {apart} from those without a fault")
        if not (group.directory / "run" / "saved_model" / str(LAST) / "simclr.json").exists():
            tally.problems.append(f"{where}: there is no export")


def main(argv: list[str] | None = None) -> int:
    """Runs a series and prints what came out; the exit code is 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    began = time.monotonic()

    def say(line: str) -> None:
        print(line, flush=True)

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that the workers end with it
    with tempfile.TemporaryDirectory(prefix="worker_kills_") as scratch:
        kills = WorkerKills(given.seed, pathlib.Path(scratch), say)
        try:
            kills.run(given.rounds)
        finally:
            for line in kills.tally.lines((time.monotonic() - began) / 60):
                say(line)
    return 1 if kills.tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
