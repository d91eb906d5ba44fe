"""Find labels in an index that the neighbours of an image disagree with."""

from __future__ import annotations

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.cli.main import say
from tf_simclr.config import NeighboursConfig
from tf_simclr.index.label_errors import label_votes
from tf_simclr.index.page import Section

USAGE = """usage: python -m tf_simclr label_errors --index=INDEX [flags]

Lets the nearest neighbours of every labelled image vote on its class, and lists the images for which another class
wins, the clearest first. "own" is the share of the votes for the label that the image has. A list, not a judgement:
where classes look alike, right labels are on it, too."""
NEIGHBOURS = flags.Group(NeighboursConfig)
FLAG_GROUPS = (INDEX, NEIGHBOURS, RESULT)
HEADINGS = ("rank", "row", "path", "class", "own", "suggested", "votes")
_OF_A_PAGE = 200


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: NeighboursConfig = NEIGHBOURS.build(parsed.values)
    wanted.validate()
    results = Results(parsed, "label_errors")
    found = label_votes(results.index, wanted.neighbours)
    own, best = found.own, found.votes.argmax(axis=1)
    lines = []
    for rank, place in enumerate(found.suspects.tolist(), 1):
        row, suggested = int(found.rows[place]), int(best[place])
        numbers = round(float(own[place]), 4), found.classes[suggested], round(float(found.votes[place, suggested]), 4)
        lines.append((rank, row, results.name(row), found.classes[int(found.labels[place])], *numbers))
    say(f"{len(lines):,} of {len(found.rows):,} labelled images have neighbours that vote for another class")
    tiles = [results.tile(row, f"{label}? {suggested}: {votes:.0%}") for _, row, _, label, _, suggested, votes in lines]
    sections = [Section("The clearest first", tiles[:_OF_A_PAGE])]
    return results.write(HEADINGS, lines, "Labels to look at", sections)
