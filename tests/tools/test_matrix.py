"""The parts of the matrix that are not environments: reports in, a table out."""

from __future__ import annotations

import platform

import pytest

from tools import matrix

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="one"/><testcase classname="tests.a" name="two"/>
<testcase classname="tests.b" name="three"><failure message="no"/></testcase>
<testcase classname="tests.b" name="four"><error message="no"/></testcase>
<testcase classname="tests.c" name="five"><skipped message="needs both stacks"/></testcase>
<testcase classname="tests.c" name="six"><skipped message="needs both stacks"/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted_and_its_failures_named(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    counted = matrix.read_report(tmp_path / "report.xml")
    assert (counted["passed"], counted["failed"]) == (2, 2)
    assert counted["skipped"] == {"needs both stacks": 2}
    assert counted["failures"] == ["tests.b.three", "tests.b.four"]


def test_a_run_without_a_report_is_no_success(tmp_path):
    row = matrix.read_report(tmp_path / "missing.xml")
    assert row["passed"] == 0 and "without a report" in row["note"]


def test_the_table_is_ordered_and_says_why(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    counted = matrix.read_report(tmp_path / "report.xml")
    base = {"tensorflow": "2.21.0", "tests": "all", "minutes": 9.5}
    rows = [
        {"python": version, "stack": stack, **base, **counted}
        for version, stack in (("3.13.0", "newest"), ("3.10.13", "older"), ("3.10.13", "addons"))
    ]
    lines = matrix.table(rows).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 3.10.13", "addons"],
        ["| 3.10.13", "older"],
        ["| 3.13.0", "newest"],
    ]
    assert lines[2].endswith("| 2 | 2 (tests.b.three, tests.b.four) | 2: needs both stacks | 9.5 |")


def test_the_table_replaces_what_stands_between_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- matrix -->\nold\n<!-- /matrix -->\nafter\n")
    for text in ("new", "newer"):
        matrix.write_into(page, text)
        assert page.read_text() == f"before\n<!-- matrix -->\n{text}\n<!-- /matrix -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="matrix"):
        matrix.write_into(page, "new")


def test_every_interpreter_has_stacks_and_this_one_is_found():
    assert {version for stack in matrix.STACKS for version in stack.pins} == set(matrix.PYTHONS)
    assert all((matrix.ROOT / stack.requirements).is_file() for stack in matrix.STACKS)
    version = ".".join(platform.python_version_tuple()[:2])
    assert set(matrix.find_interpreters()) <= set(matrix.PYTHONS) and version in matrix.PYTHONS


@pytest.mark.parametrize("stack", matrix.STACKS, ids=lambda stack: stack.name)
def test_another_tensorflow_takes_the_place_of_the_requirements_own(stack):
    text = (matrix.ROOT / stack.requirements).read_text()
    lines = matrix.with_tensorflow(text, "tensorflow==9.9").splitlines()
    assert lines.count("tensorflow==9.9") == 1 and len(lines) == len(text.splitlines())
    assert {line for line in lines if line.startswith("tensorflow-")} == {
        line for line in text.splitlines() if line.startswith("tensorflow-")
    }
