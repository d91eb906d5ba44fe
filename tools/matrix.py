"""Prints the table of the tests on every interpreter and stack, from the reports that nox left in build/matrix.

python -m tools.matrix                  prints it
python -m tools.matrix docs/install.md  puts it between that page's matrix marks
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree  # nosec B405
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPORTS = Path(__file__).parents[1] / "build" / "matrix"
MARKS = ("<!-- matrix -->", "<!-- /matrix -->")


@dataclass(frozen=True)
class Row:
    """What the tests of one environment came to.

    Attributes:
        python: version of the interpreter.
        stack: its name in noxfile.py.
        tensorflow: its version.
        passed: number of tests.
        failed: names of tests.
        skipped: number of tests by the reason.
        minutes: that pytest took.
    """

    python: str
    stack: str
    tensorflow: str
    passed: int
    failed: tuple[str, ...]
    skipped: dict[str, int]
    minutes: float


def read_report(path: Path) -> Row:
    """Counts of a JUnit report, whose name is the version of Python, the stack, and the version of TensorFlow."""
    python, stack, tensorflow = path.stem.split(" ")
    root = ElementTree.parse(path).getroot()  # nosec B314
    skipped: Counter[str] = Counter()
    failed, passed = [], 0
    for case in root.iter("testcase"):
        if (skip := case.find("skipped")) is not None:
            skipped[skip.get("message", "")] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        else:
            passed += 1
    seconds = sum(float(suite.get("time", 0)) for suite in root.iter("testsuite"))
    return Row(python, stack, tensorflow, passed, tuple(failed), dict(skipped), round(seconds / 60, 1))


def table(rows: Sequence[Row]) -> str:
    """The results as Markdown, by interpreter and stack."""
    lines = [
        "| Python | stack | TensorFlow | passed | failed | skipped, and why | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: ([int(n) for n in re.findall(r"\d+", row.python)], row.stack)):
        failed = f"{len(row.failed)} ({', '.join(row.failed)})" if row.failed else "0"
        skipped = "; ".join(f"{count}: {why}" for why, count in row.skipped.items()) or "0"
        cells = [row.python, row.stack, row.tensorflow, row.passed, failed, skipped, row.minutes]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the marks of a page."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise SystemExit(f"the page needs {MARKS[0]} and {MARKS[1]}. Received: {page}. Add both marks")
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main(words: Sequence[str]) -> int:
    """Prints or writes the table; the exit code is 1 where there is no report, or a test failed."""
    rows = [read_report(path) for path in REPORTS.glob("*.xml")]
    if words and rows:
        write_into(Path(words[0]), table(rows))
    else:
        print(table(rows) if rows else f"no report in {REPORTS}: run nox")
    return int(not rows or any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
