"""Mutation testing: changes the code in small ways, one at a time, and counts the changes that no test notices.

python -m tools.mutation --share=0.1 --seed=0    a random tenth of each file's mutants, at least three
python -m tools.mutation --only=tf_simclr/losses --share=1
python -m tools.mutation --report                prints the score by file and the survivors of what was run

The changes are Cosmic Ray's (arithmetic, comparisons, booleans, numbers, loops, decorators), and one of ours:
a keyword argument is left out of a call, which is how wires between parts are cut. TensorFlow takes seconds to import,
so this process imports it once and forks: each mutant is tried in a child, in a copy of the checkout, by the tests of
`tools/mutation_tests.py`. Results are kept in --results after each mutant; the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.mutants import Mutant, mutants_of, sampled
from tools.mutation_tests import TESTS_OF, targets

ROOT = Path(__file__).parents[1]
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
# ---- Trying them ----


class QuickFirst:
    """A plugin of pytest: runs tests in the order of how long they took before, and writes down how long they take."""

    def __init__(self, path: Path):
        self._path = path
        self._before = json.loads(path.read_text()) if path.exists() else {}
        self._now: dict[str, float] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sorts; tests of which nothing is known keep their order."""
        items.sort(key=lambda item: self._before.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds what set-up, call and tear-down of a test took."""
        self._now[report.nodeid] = self._now.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Writes the seconds by test, the first time."""
        if not self._before:
            self._path.write_text(json.dumps(self._now, allow_nan=False))


def tried(place: Path, tests: tuple[str, ...], seconds: float) -> tuple[str, float]:
    """Runs tests in a child of this process, stopped at the first failure; how it ended, and after how long."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _run_tests(place, tests)
    while time.monotonic() - began < seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return (SURVIVED if status == 0 else KILLED), time.monotonic() - began
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT, seconds


def _run_tests(place: Path, tests: tuple[str, ...]) -> None:
    """Ends this process with pytest's code."""
    code = 3
    with contextlib.suppress(BaseException):
        os.setpgid(0, 0)
        log = os.open(place / "tests.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(place)
        sys.path[:] = [str(place), *(path for path in sys.path if path not in ("", str(ROOT)))]
        for name in [name for name in sys.modules if name.split(".")[0] in ("tools", "tests", "tf_simclr")]:
            del sys.modules[name]
        times = place / f"times_{hashlib.sha256(repr(tests).encode()).hexdigest()[:8]}.json"
        code = int(pytest.main(["-x", "-p", "no:cacheprovider", *tests], [QuickFirst(times)]))
    os._exit(code)


@contextlib.contextmanager
def copied_checkout() -> Iterator[Path]:
    """A copy of the checkout, in which files are changed."""
    with tempfile.TemporaryDirectory(prefix="tf_simclr_mutation_") as directory:
        place = Path(directory, "checkout")
        ignored = shutil.ignore_patterns(".git", "__pycache__", ".venv", "runs", ".*_cache")
        shutil.copytree(ROOT, place, ignore=ignored, symlinks=True)
        # Compiled once, and never taken for a file with other contents, however alike in size and time.
        compileall.compile_dir(place, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        yield place


def import_what_takes_long() -> None:
    """Once, for all children; nothing may compute yet, since threads do not survive a fork."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    sys.dont_write_bytecode = True
    for name in ("tensorflow", "keras", "rich.progress", "PIL.Image", "sklearn.linear_model", "tensorflow_datasets"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run(mutants: list[Mutant], results: Path) -> None:
    """Tries every mutant that has no result yet."""
    done = {row["name"] for row in read_results(results)}
    todo = [mutant for mutant in mutants if mutant.name not in done]
    import_what_takes_long()
    usual: dict[tuple[str, ...], float] = {}
    with copied_checkout() as place:
        for number, mutant in enumerate(todo, start=1):
            tests = TESTS_OF[mutant.file]
            if tests not in usual:
                usual[tests] = require_passing(place, tests)
            target = place / mutant.file
            original = target.read_text()
            target.write_text(mutant.source)
            outcome, seconds = tried(place, tests, 60 + 4 * usual[tests])
            target.write_text(original)
            row = {"name": mutant.name, "file": mutant.file, "outcome": outcome, "seconds": round(seconds, 1)}
            with results.open("a") as file:
                file.write(json.dumps(row | {"change": change_of(mutant)}, allow_nan=False) + "\n")
            print(f"[{number}/{len(todo)}] {outcome}: {mutant.name} ({seconds:.1f} s)", flush=True)


def require_passing(place: Path, tests: tuple[str, ...]) -> float:
    """How many seconds the tests take of the code as it is; ends the program where they fail."""
    outcome, seconds = tried(place, tests, 1200)
    if outcome != SURVIVED:
        log = (place / "tests.log").read_text()
        raise SystemExit(f"{' '.join(tests)} must pass before anything is changed:\n{log[-3000:]}")
    print(f"{' '.join(tests)}: {seconds:.0f} s", flush=True)
    return seconds


# ---- The report ----


def change_of(mutant: Mutant) -> list[str]:
    """The lines that differ, with - and + before them."""
    before = (ROOT / mutant.file).read_text().splitlines()
    lines = difflib.unified_diff(before, mutant.source.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def read_results(path: Path) -> list[dict[str, Any]]:
    """What was tried, one JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report_of(rows: list[dict[str, Any]]) -> str:
    """A table of the score by file, then every survivor and its change."""
    lines = ["| file | mutants | killed | survived | score |", "|---|---|---|---|---|"]
    for file in [*sorted({row["file"] for row in rows}), "all"]:
        counts = Counter(row["outcome"] == SURVIVED for row in rows if file in (row["file"], "all"))
        total = sum(counts.values())
        score = counts[False] / total if total else 0.0
        lines.append(f"| {file} | {total} | {counts[False]} | {counts[True]} | {score:.0%} |")
    for row in rows:
        if row["outcome"] == SURVIVED:
            lines += ["", row["name"], *(f"    {line}" for line in row["change"])]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.1, help="of each file's mutants; 1 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="files whose path begins so")
    parser.add_argument("--results", type=Path, default=Path("mutation.jsonl"), help="where results are kept")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        chosen: list[Mutant] = []
        for file in [file for file in targets() if file.startswith(options.only)]:
            mutants = mutants_of(file, (ROOT / file).read_text())
            chosen += sampled(mutants, options.share, options.seed)
            print(f"{file}: {len(mutants)} mutants", flush=True)
        run(chosen, options.results)
    print(report_of(read_results(options.results)))


if __name__ == "__main__":
    main()
