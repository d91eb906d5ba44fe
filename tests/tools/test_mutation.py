"""Mutants are made where code decides something, tried in a forked process, and counted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools import mutation, mutation_tests
from tools.mutants import mutants_of, sampled
from tools.mutation import KILLED, ROOT, SURVIVED, TIMED_OUT, change_of, report_of

pytest.importorskip("cosmic_ray", reason="mutants need Cosmic Ray")

SOURCE = '''"""Three words of text: 3."""


def scaled(x: float = 1.0, *, twice: bool | None = None) -> int | float:
    """Half of 2."""
    if x < 0:
        raise ValueError(f"at least {1 + 1}")
    return min(x, 5, key=abs) * 2
'''


@pytest.fixture(scope="module")
def mutants():
    return mutants_of("tools/matrix.py", SOURCE)


def test_what_is_computed_is_changed_and_what_is_said_is_not(mutants):
    lines = SOURCE.splitlines()
    changed = {(mutant.line, mutant.source.splitlines()[mutant.line - 1].strip()) for mutant in mutants}
    assert {line for line, _ in changed} == {4, 6, 8}
    assert (6, "if x <= 0:") in changed and (8, "return min(x, 5, key=abs) / 2") in changed
    assert (8, "return min(x, 5, ) * 2") in changed
    annotation = lines[3].split("->")[1]
    assert all(annotation in text for line, text in changed if line == 4)
    for mutant in mutants:
        compile(mutant.source, "mutant", "exec")
    assert len({mutant.name for mutant in mutants}) == len({mutant.source for mutant in mutants}) == len(mutants)


def test_a_sample_is_a_share_of_a_file_and_depends_on_the_seed_alone(mutants):
    half = sampled(mutants, 0.5, seed=0)
    assert len(half) == round(len(mutants) / 2) and set(half) < set(mutants)
    assert half == sampled(mutants, 0.5, seed=0) != sampled(mutants, 0.5, seed=1)
    assert len(sampled(mutants, 0.0, seed=0)) == 3
    assert sorted(sampled(mutants, 1.0, seed=0), key=lambda one: one.name) == sorted(mutants, key=lambda one: one.name)


def test_the_change_is_shown():
    source = (ROOT / "tools/matrix.py").read_text()
    [mutant] = mutants_of("tools/matrix.py", source)[:1]
    assert [line[0] for line in change_of(mutant)] == ["-", "+"]


def test_a_report_counts_by_file_and_shows_survivors():
    rows = [
        {"name": "a.py:1 x #0", "file": "a.py", "outcome": KILLED, "change": ["-one", "+two"]},
        {"name": "a.py:2 x #1", "file": "a.py", "outcome": SURVIVED, "change": ["-three", "+four"]},
        {"name": "b.py:2 x #1", "file": "b.py", "outcome": TIMED_OUT, "change": ["-five", "+six"]},
    ]
    report = report_of(rows)
    assert "| a.py | 2 | 1 | 1 | 50% |" in report and "| b.py | 1 | 1 | 0 | 100% |" in report
    assert "| all | 3 | 2 | 1 | 67% |" in report
    assert "a.py:2 x #1\n    -three\n    +four" in report and "-one" not in report


def test_every_file_and_every_test_is_there():
    assert mutation_tests.targets()
    for file, tests in mutation_tests.TESTS_OF.items():
        assert (ROOT / file).is_file(), file
        assert tests and all((ROOT / test).is_file() for test in tests), file
    for part in ("losses", "optim", "train"):
        code = [path for path in (ROOT / "tf_simclr" / part).glob("*.py") if path.stat().st_size]
        assert {str(path.relative_to(ROOT)) for path in code} <= set(mutation_tests.targets())


TRIED = """
import sys
from pathlib import Path
from tools import mutation
place = Path(sys.argv[1])
for body, seconds in (("assert True", 600), ("assert False", 600), ("import time; time.sleep(600)", 1)):
    (place / "test_it.py").write_text(f"def test_it():\\n    {body}\\n")
    print(mutation.tried(place, ("test_it.py",), seconds)[0])
"""


def test_a_child_says_how_the_tests_ended(tmp_path):
    """In a process of its own, in which TensorFlow has not started."""
    result = subprocess.run(
        [sys.executable, "-c", TRIED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [SURVIVED, KILLED, TIMED_OUT], result.stderr
    assert mutation.read_results(tmp_path / "none.jsonl") == []
