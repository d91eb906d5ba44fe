"""The cells of the paper's results, its Tables 6 to 8, with its numbers beside them (Chen et al. 2020)."""

from __future__ import annotations

from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import SUPERVISED, StudyCell
from tf_simclr.studies.tables import Cells, method_flags

# How much wider a network is than the scale's own.
WIDTHS = (1, 2, 4)
# Table 6, 1,000 epochs: top-1, top-5, and parameters in millions.
_TABLE_6 = {1: (69.3, 89.0, 24), 2: (74.2, 92.0, 94), 4: (76.5, 93.2, 375)}


def wider(scale: str, times: int) -> dict[str, float]:
    """The flag of a network that is so many times as wide as the scale's."""
    return {"width_multiplier": times * SCALES[scale].flags["width_multiplier"]}


def table6(scale: str) -> Cells:
    """The width of the network, and the network of width 1 trained with labels, the cross of Figure 1."""
    ours = tuple(
        StudyCell(
            name=f"SimCLR {times}x",
            place={"method": "SimCLR", "width": f"{times}x"},
            flags=wider(scale, times),
            paper={"top_1": top_1 / 100, "top_5": top_5 / 100, "parameters": parameters * 1e6},
        )
        for times, (top_1, top_5, parameters) in _TABLE_6.items()
    )
    supervised = StudyCell(
        name="supervised 1x",
        place={"method": "supervised", "width": "1x"},
        flags=wider(scale, 1) | method_flags(scale, SUPERVISED),
        task=SUPERVISED,
    )
    return (*ours, supervised)
