"""Find exact and near copies among the images of an index."""

from __future__ import annotations

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.cli.main import say
from tf_simclr.config import DuplicatesConfig
from tf_simclr.errors import InputError
from tf_simclr.index.duplicates import (
    Threshold,
    choose_threshold,
    groups_of_copies,
    histogram,
    nearest_similarities,
)
from tf_simclr.index.page import Section

USAGE = """usage: python -m tf_simclr duplicates --index=INDEX [flags]

Finds groups of images that are exact or near copies of each other. Nothing is deleted: the groups are written as a
table, and with --page as a page. An image belongs to a group when its similarity to any image of the group is at least
the threshold. Look at the page: where a group has images that are no copies, pass a higher --threshold."""
DUPLICATES = flags.Group(DuplicatesConfig)
FLAG_GROUPS = (INDEX, DUPLICATES, RESULT)
HEADINGS = ("group", "row", "path", "class", "bytes", "similarity")
_GROUPS_OF_A_PAGE, _IMAGES_OF_A_GROUP = 200, 50


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: DuplicatesConfig = DUPLICATES.build(parsed.values)
    wanted.validate()
    results = Results(parsed, "duplicates")
    index = results.index
    if len(index.rows) < 2:
        raise InputError(f"`index` must have two images or more. Received: {index.directory} with {len(index.rows)}")
    similarities = nearest_similarities(index)
    say("similarity of every image to its nearest neighbour:")
    for line in histogram(similarities):
        say(f"  {line}")
    chosen = choose_threshold(similarities)
    if wanted.threshold is not None:
        chosen = Threshold(wanted.threshold, "--threshold")
    say(f"copies are images with a similarity of at least {chosen.similarity:.6f} ({chosen.why})")
    groups = groups_of_copies(index, chosen.similarity)
    copies = sum(len(group) - 1 for group in groups)
    say(f"{len(groups):,} groups of copies; remove {copies:,} of the {len(index.rows):,} images to keep one of each")
    nearest = [round(float(value), 6) for value in similarities]
    lines = [
        (number, row, results.name(row), index.rows[row].label, index.rows[row].size, nearest[row])
        for number, group in enumerate(groups, 1)
        for row in group
    ]
    sections = [
        Section(
            f"Group {number}: {len(group)} images",
            [results.tile(row, f"{similarities[row]:.4f}") for row in group[:_IMAGES_OF_A_GROUP]],
        )
        for number, group in enumerate(groups[:_GROUPS_OF_A_PAGE], 1)
    ]
    return results.write(HEADINGS, lines, f"Copies: similarity at least {chosen.similarity:.4f}", sections)
