"""The tests on every supported interpreter and TensorFlow, each in an environment of its own.

nox --list                              all sessions
nox -s "tests(3.12-newest)"             one of them, the whole suite
nox -s tests -- -m "not whole_runs"     all of them, with options for pytest
python -m tools.matrix docs/install.md  puts the table of all results so far into that page

An interpreter that is not on PATH as python3.X is skipped, with a line.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.options.error_on_missing_interpreters = False
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Reports of pytest, named after interpreter and stack; tools/matrix.py reads them.
REPORTS = Path(__file__).parent / "build" / "matrix"
# Stack -> its requirements file, and what takes the place of TensorFlow there, by interpreter.
STACKS = {
    "newest": ("requirements.txt", dict.fromkeys(PYTHONS, "tensorflow==2.21.*")),
    # The lower end of requirements.txt; the first TensorFlow for Python 3.13 is 2.20.
    "older": ("requirements.txt", dict.fromkeys(PYTHONS[:3], "tensorflow==2.16.*") | {"3.13": "tensorflow==2.20.*"}),
    "addons": ("requirements-addons.txt", dict.fromkeys(PYTHONS[:2], "tensorflow==2.15.1")),
}


def with_tensorflow(requirements: str, pin: str) -> str:
    """The text of a requirements file with another TensorFlow in place of its own."""
    replaced, count = re.subn(r"^tensorflow[<>=~!].*$", pin, requirements, flags=re.MULTILINE)
    assert count == 1, "a requirements file names TensorFlow once"
    return replaced


@nox.session
@nox.parametrize(
    ("python", "stack"),
    [
        nox.param(python, stack, id=f"{python}-{stack}")
        for python in PYTHONS
        for stack, (_, pins) in STACKS.items()
        if python in pins
    ],
)
def tests(session: nox.Session, stack: str) -> None:
    """Installs a stack and runs the tests; arguments behind -- go to pytest."""
    file, pins = STACKS[stack]
    assert isinstance(session.python, str)
    requirements = Path(session.create_tmp()) / "requirements.txt"
    requirements.write_text(with_tensorflow(Path(file).read_text(), pins[session.python]))
    session.install("--upgrade", "pip")  # Python 3.10's own looks for a solution of the second file without end
    session.install("-r", str(requirements))
    REPORTS.mkdir(parents=True, exist_ok=True)
    question = "import platform, tensorflow as tf; print(platform.python_version(), tf.__version__)"
    answer = session.run("python", "-c", question, silent=True, stderr=None)
    version, tensorflow = str(answer).split()[-2:]
    report = REPORTS / f"{version} {stack} {tensorflow}.xml"
    session.run("python", "-m", "pytest", "-n", "2", f"--junitxml={report}", *session.posargs)
