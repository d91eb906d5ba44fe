"""A small study that nobody ran: nine pairs of operators with numbers that can be reckoned by hand."""

from __future__ import annotations

import itertools

from tf_simclr.studies.results import CellResult, NotMeasuredError, Results
from tf_simclr.studies.study import Evidence, Finding, HeatMap, Study, StudyCell

OPERATORS = ("crop", "colour", "<b> & | $x$ \"'")
MISSING = "crop+colour"
HEAT_MAP = HeatMap("pairs", "Pairs of operators", "top_1", "1st", "2nd")


def name_of(first, second):
    return f"{first}+{second}"


def ours(number, seed):
    """The accuracy of the cell with a number, 1 to 9: a tenth of it, give or take a hundredth."""
    return number / 10 + (0.01 if seed else -0.01)


PAIRS = tuple(itertools.product(OPERATORS, OPERATORS))
CELLS = tuple(
    StudyCell(name_of(*pair), {"1st": pair[0], "2nd": pair[1]}, paper={"top_1": 0.0111 * number})
    for number, pair in enumerate(PAIRS, 1)
)
FOUND = tuple(
    CellResult(cell.name, seed, {"top_1": ours(number, seed)}, {"loss": {"x": [0, 1], "y": [2, 1]}}, seconds=60)
    for number, cell in enumerate(CELLS, 1)
    for seed in (0, 1)
    if cell.name != MISSING
)
RESULTS = Results(FOUND)


def _needs_the_missing(cells, results: Results) -> Evidence:
    raise NotMeasuredError(f"the cell {MISSING}, which was not run")


STUDY = Study(
    name="pairs",
    title="Figure 5: <pairs> & more",
    question="Which pair is best?",
    paper_says="Crop & colour.",
    cells=lambda scale: CELLS,
    figures=(HEAT_MAP,),
    findings=(
        Finding("The last is the best.", lambda cells, results: Evidence(True, "90.0 against 80.0")),
        Finding("The first is the best.", lambda cells, results: Evidence(False, "10.0 against 90.0")),
        Finding("The missing one is there.", _needs_the_missing),
        Finding("Nobody knows.", lambda cells, results: Evidence(None, "too few seeds")),
    ),
    measures=("top_1", "contrast_acc"),
)
