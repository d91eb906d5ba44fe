"""The table of findings in docs/studies.md says what the program decides on the committed numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.comparison import check_finding
from tools.publish_study import findings_text, results_of

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = sorted(path.parent for path in DOCS.glob("studies/*/numbers.csv"))
TEST_IMAGES = {"shapes": 2000, "emoji": 1855}
OUTCOME = re.compile(r"\*\*(holds|does not hold|undecided)\*\* \[[^\]]+\]\(studies/([\w-]+)/README\.md\)")


def number_of_test_images(folder):
    return TEST_IMAGES[folder.name.split("-")[1]]


def decided():
    """(statement, folder) -> outcome, as the program has it; cells that were not run are left out."""
    outcomes = {}
    for folder in FOLDERS:
        study, results = find_study(folder.name.split("-")[0]), results_of(folder, number_of_test_images(folder))
        cells = [cell for cell in study.cells("small") if results.of(cell.name)]
        for finding in study.findings:
            outcomes[finding.statement, folder.name] = check_finding(finding, cells, results).outcome
    return outcomes


def test_the_outcomes_are_those_of_the_numbers():
    rows = [line.split("|")[1:] for line in (DOCS / "studies.md").read_text(encoding="utf-8").splitlines()]
    written = [
        ((row[0].strip(), folder), outcome)
        for row in rows
        for cell in row[1:]
        for outcome, folder in OUTCOME.findall(cell)
    ]
    assert len(dict(written)) == len(written), "a finding is there twice"
    assert dict(written) == decided()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_published_page_says_what_its_numbers_decide(folder):
    """Where this fails after a change of a rule: python -m tools.publish_study --findings --test_images=N FOLDER."""
    assert findings_text(folder, number_of_test_images(folder)) in (folder / "README.md").read_text(encoding="utf-8")
