"""What the paper says of its results, its Tables 6 to 8, as checks."""

from __future__ import annotations

from tf_simclr.studies.findings import finding
from tf_simclr.studies.measured import Cells, along, listed, where
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import Evidence
from tf_simclr.studies.uncertainty import decided

# ---- Table 6, Figure 1 ----


@finding("The wider the network, the better it learns without labels: 4x is better than 2x, and 2x than 1x.")
def wider_is_better(cells: Cells, results: Results) -> Evidence:
    """Table 6, top-1."""
    found = along(results, where(cells, method="SimCLR"), "width")
    return decided(listed(found), found["4x"] - found["2x"], found["2x"] - found["1x"])


@finding("Four times as wide, it reaches what the network of width 1x learns with labels.")
def labels_are_matched(cells: Cells, results: Results) -> Evidence:
    """Abstract and Figure 1, top-1."""
    found = along(results, cells, "method", "width")
    widest, supervised = found["SimCLR x4x"], found["supervised x1x"]
    return decided(f"SimCLR 4x {widest:.1f}, supervised 1x {supervised:.1f}", or_equal=widest - supervised)
