"""The table of findings in docs/studies.md says what the program decides on the committed numbers."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from pathlib import Path

from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.comparison import check_finding
from tf_simclr.studies.results import CellResult, Results

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = sorted(path.parent for path in DOCS.glob("studies/*/numbers.csv"))
TEST_IMAGES = {"shapes": 2000, "emoji": 1855}
OUTCOME = re.compile(r"\*\*(holds|does not hold|undecided)\*\* \[[^\]]+\]\(studies/([\w-]+)/README\.md\)")


def results_of(folder):
    """The results of every seed, from means and standard deviations: of two numbers these leave nothing open."""
    measures = defaultdict(dict)
    for row in csv.DictReader((folder / "numbers.csv").read_text(encoding="utf-8").splitlines()):
        seeds = int(row["seeds"])
        assert seeds in (0, 1, 2)
        for seed in range(seeds):
            away = float(row["std"]) / math.sqrt(2) if seeds == 2 else 0.0
            measures[row["cell"], seed][row["measure"]] = float(row["mean"]) + (away if seed else -away)
    found = [CellResult(cell, seed, values) for (cell, seed), values in measures.items()]
    return Results(found, TEST_IMAGES[folder.name.split("-")[1]])


def decided():
    """(statement, folder) -> outcome, as the program has it; cells that were not run are left out."""
    outcomes = {}
    for folder in FOLDERS:
        study, results = find_study(folder.name.split("-")[0]), results_of(folder)
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
