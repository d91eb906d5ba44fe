"""The cells of the paper's results, its Tables 6 to 8, with its numbers beside them (Chen et al. 2020)."""

from __future__ import annotations

from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import FEW_LABELS, SUPERVISED, StudyCell
from tf_simclr.studies.tables import Cells, method_flags

# How much wider a network is than the scale's own.
WIDTHS = (1, 2, 4)
# Table 6, 1,000 epochs: top-1, top-5, and parameters in millions.
_TABLE_6 = {1: (69.3, 89.0, 24), 2: (74.2, 92.0, 94), 4: (76.5, 93.2, 375)}

# Table 7: method and width: top-5 with 1% and with 10% of the labels.
_TABLE_7 = {
    ("SimCLR", 1): (75.5, 87.8),
    ("SimCLR", 2): (83.0, 91.2),
    ("SimCLR", 4): (85.8, 92.6),
    ("supervised", 1): (48.4, 80.4),
}


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


def table7(scale: str) -> Cells:
    """Fine-tuning on few labels by width, and the network of width 1 trained on the same labels from scratch."""
    return tuple(
        StudyCell(
            name=f"{method} {times}x",
            place={"method": method, "width": f"{times}x"},
            flags=wider(scale, times),
            task=FEW_LABELS,
            paper={"top_5_1pct": top_5[0] / 100, "top_5_10pct": top_5[1] / 100},
            options={"pretrained": method == "SimCLR"},
        )
        for (method, times), top_5 in _TABLE_7.items()
    )
