"""Find the images of an index that are like few others."""

from __future__ import annotations

import numpy as np

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.config import NeighboursConfig
from tf_simclr.errors import InputError
from tf_simclr.index.outliers import outlier_scores
from tf_simclr.index.page import Section

USAGE = """usage: python -m tf_simclr outliers --index=INDEX [flags]

Orders all images by how far they are from their nearest neighbours, the farthest first: broken and empty images, and
images that belong elsewhere. The table has all images, the page the first 100."""
NEIGHBOURS = flags.Group(NeighboursConfig)
FLAG_GROUPS = (INDEX, NEIGHBOURS, RESULT)
HEADINGS = ("rank", "row", "path", "class", "distance")
_OF_A_PAGE = 100


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: NeighboursConfig = NEIGHBOURS.build(parsed.values)
    wanted.validate()
    results = Results(parsed, "outliers")
    index = results.index
    if len(index.rows) < 2:
        raise InputError(f"`index` must have two images or more. Received: {index.directory} with {len(index.rows)}")
    scores = outlier_scores(index, wanted.neighbours)
    order = np.argsort(-scores, kind="stable").tolist()
    lines = [
        (rank, row, results.name(row), index.rows[row].label, round(float(scores[row]), 6))
        for rank, row in enumerate(order, 1)
    ]
    shown = Section("The farthest first", [results.tile(row, f"{scores[row]:.4f}") for row in order[:_OF_A_PAGE]])
    return results.write(HEADINGS, lines, "Outliers", [shown])
