"""Runs the tests on every interpreter that is found, 3.10 to 3.13, and every TensorFlow it can have; prints a table.

python -m tools.matrix                         everything: a fresh environment and the whole suite for each
python -m tools.matrix --python 3.12 --stack older
python -m tools.matrix --fast                  leaves out the tests marked whole_runs, more than half of the time
python -m tools.matrix --write docs/install.md puts the table of all results so far between that page's matrix marks

Results are kept in --results after each run, so that a stopped matrix goes on with what is missing; --again repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MARKS = ("<!-- matrix -->", "<!-- /matrix -->")


@dataclass(frozen=True)
class Stack:
    """A set of packages: a requirements file, and what takes the place of its TensorFlow on each interpreter."""

    name: str
    requirements: str
    pins: dict[str, str]


STACKS = (
    Stack("newest", "requirements.txt", dict.fromkeys(PYTHONS, "tensorflow==2.21.*")),
    # The lower end of requirements.txt; the first TensorFlow for Python 3.13 is 2.20.
    Stack(
        "older",
        "requirements.txt",
        dict.fromkeys(PYTHONS[:3], "tensorflow==2.16.*") | {"3.13": "tensorflow==2.20.*"},
    ),
    Stack("addons", "requirements-addons.txt", dict.fromkeys(PYTHONS[:2], "tensorflow==2.15.1")),
)


def find_interpreters() -> dict[str, str]:
    """Version -> program, from PATH and from pyenv's folder; the newest patch release where there are several."""
    found = {}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for version in PYTHONS:
        installed = sorted(versions.glob(f"{version}.*/bin/python"), key=lambda p: _numbers(p.parts[-3]))
        on_path = shutil.which(f"python{version}")
        # Before PATH, where pyenv may put a stand-in that refuses to run.
        if program := (str(installed[-1]) if installed else on_path):
            found[version] = program
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def run_cell(interpreter: str, stack: Stack, version: str, options: list[str]) -> dict[str, object]:
    """Builds a fresh environment, runs the tests in it with pytest's `options`, and returns a row of the table."""
    with tempfile.TemporaryDirectory(prefix="matrix_") as scratch:
        python = f"{scratch}/env/bin/python"
        requirements, report = Path(scratch, "requirements.txt"), Path(scratch, "report.xml")
        requirements.write_text(with_tensorflow((ROOT / stack.requirements).read_text(), stack.pins[version]))
        row: dict[str, object] = {"python": version, "stack": stack.name, "tensorflow": stack.pins[version][12:]}
        install = ["-m", "pip", "install", "--quiet"]
        try:
            subprocess.run([interpreter, "-m", "venv", f"{scratch}/env"], check=True)
            # Python 3.10's own pip looks for a solution of requirements-addons.txt without end.
            subprocess.run([python, *install, "--upgrade", "pip"], check=True)
            subprocess.run([python, *install, "-r", str(requirements)], check=True)
        except subprocess.CalledProcessError as error:
            return row | {"passed": 0, "failed": 0, "skipped": {}, "note": f"not installed: {error}"}
        began = time.monotonic()
        subprocess.run([python, "-m", "pytest", *options, f"--junitxml={report}"], cwd=ROOT, check=False)
        minutes = (time.monotonic() - began) / 60
        question = "import platform, tensorflow as tf; print(platform.python_version(), tf.__version__)"
        answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout.split()
        row |= {"python": answer[0], "tensorflow": answer[1], "minutes": round(minutes, 1)}
        return row | read_report(report)


def with_tensorflow(requirements: str, pin: str) -> str:
    """The text of a requirements file with another TensorFlow in place of its own."""
    replaced, count = re.subn(r"^tensorflow[<>=~!].*$", pin, requirements, flags=re.MULTILINE)
    assert count == 1, "a requirements file names TensorFlow once"
    return replaced


def read_report(path: Path) -> dict[str, object]:
    """Counts of a JUnit report; skipped tests by their reason, failed ones by name."""
    if not path.exists():
        return {"passed": 0, "failed": 0, "skipped": {}, "note": "pytest ended without a report"}
    skipped: Counter[str] = Counter()
    failed, passed = [], 0
    for case in ElementTree.parse(path).iter("testcase"):
        if (skip := case.find("skipped")) is not None:
            skipped[skip.get("message", "")] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        else:
            passed += 1
    return {"passed": passed, "failed": len(failed), "skipped": dict(skipped), "failures": failed}


def table(rows: list[dict[str, object]]) -> str:
    """The results as Markdown."""
    lines = [
        "| Python | stack | TensorFlow | tests | passed | failed | skipped, and why | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (_numbers(str(r["python"])), str(r["stack"]))):
        reasons = [f"{count}: {why}" for why, count in row["skipped"].items()]  # type: ignore[attr-defined]
        failures = f" ({', '.join(row['failures'])})" if row.get("failures") else ""  # type: ignore[arg-type]
        why_not = "; ".join([*reasons, *([str(row["note"])] if "note" in row else [])]) or "0"
        cells = [row[name] for name in ("python", "stack", "tensorflow", "tests", "passed")]
        cells += [f"{row['failed']}{failures}", why_not, row.get("minutes", "")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the marks of a page."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise SystemExit(f"`--write` needs a page with {MARKS[0]} and {MARKS[1]}. Received: {page}. Add both marks")
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main() -> int:
    """Runs what is missing, prints the table; the exit code is 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this version; may be repeated")
    parser.add_argument("--stack", action="append", choices=[s.name for s in STACKS], help="only this one; repeatable")
    parser.add_argument("--workers", default="2", help="processes that pytest uses")
    parser.add_argument("--fast", action="store_true", help="without the tests marked whole_runs")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "matrix.json")
    parser.add_argument("--again", action="store_true", help="run also what has a result already")
    parser.add_argument("--write", type=Path, help="page that receives the table; nothing is run")
    words = parser.parse_args()
    rows: dict[str, dict[str, object]] = json.loads(words.results.read_text()) if words.results.exists() else {}
    if words.write:
        write_into(words.write, table(list(rows.values())))
        return 0
    tests = "without whole runs" if words.fast else "all"
    options = ["-n", words.workers, *(["-m", "not whole_runs"] if words.fast else [])]
    for version, interpreter in find_interpreters().items():
        for stack in STACKS:
            key = f"{version} {stack.name}"
            wanted = version in (words.python or PYTHONS) and stack.name in (words.stack or [s.name for s in STACKS])
            if wanted and version in stack.pins and (words.again or key not in rows):
                print(f"== Python {version}, {stack.name}", flush=True)
                rows[key] = {"tests": tests, **run_cell(interpreter, stack, version, options)}
                words.results.parent.mkdir(parents=True, exist_ok=True)
                words.results.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n")
    print(table(list(rows.values())))
    return int(any(row["failed"] or "note" in row for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
