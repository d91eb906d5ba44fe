"""The parts of the matrix that are not environments: reports in, a table out."""

from __future__ import annotations

import pytest

from tools import matrix

REPORT = """<testsuites><testsuite time="570">
<testcase classname="tests.a" name="one"/><testcase classname="tests.a" name="two"/>
<testcase classname="tests.b" name="three"><failure message="no"/></testcase>
<testcase classname="tests.b" name="four"><error message="no"/></testcase>
<testcase classname="tests.c" name="five"><skipped message="needs both stacks"/></testcase>
<testcase classname="tests.c" name="six"><skipped message="needs both stacks"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def reports(tmp_path, monkeypatch):
    for name in ("3.13.0 newest 2.21.0", "3.10.13 older 2.16.2", "3.10.13 addons 2.15.1", "3.9.1 older 2.16.2"):
        (tmp_path / f"{name}.xml").write_text(REPORT)
    monkeypatch.setattr(matrix, "REPORTS", tmp_path)
    return tmp_path


def test_a_report_is_counted_and_its_failures_named(reports):
    row = matrix.read_report(reports / "3.10.13 older 2.16.2.xml")
    assert (row.python, row.stack, row.tensorflow, row.passed, row.minutes) == ("3.10.13", "older", "2.16.2", 2, 9.5)
    assert row.skipped == {"needs both stacks": 2} and row.failed == ("tests.b.three", "tests.b.four")


def test_the_table_is_ordered_by_number_and_says_why(reports, capsys):
    assert matrix.main([]) == 1  # tests failed
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 3.9.1", "older"],
        ["| 3.10.13", "addons"],
        ["| 3.10.13", "older"],
        ["| 3.13.0", "newest"],
    ]
    assert (
        lines[3] == "| 3.10.13 | addons | 2.15.1 | 2 | 2 (tests.b.three, tests.b.four) | 2: needs both stacks | 9.5 |"
    )


def test_the_table_replaces_what_stands_between_the_marks(reports):
    page = reports / "page.md"
    page.write_text("before\n<!-- matrix -->\nold\n<!-- /matrix -->\nafter\n")
    for _ in range(2):
        matrix.main([str(page)])
        assert page.read_text().startswith("before\n<!-- matrix -->\n| Python | stack ")
        assert page.read_text().endswith(" |\n<!-- /matrix -->\nafter\n") and "old\n" not in page.read_text()
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="matrix"):
        matrix.main([str(page)])


def test_no_report_is_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(matrix, "REPORTS", tmp_path)
    assert matrix.main([]) == 1 and "run nox" in capsys.readouterr().out
