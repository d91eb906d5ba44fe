"""The cells of the paper's results, its Tables 6 to 8, with its numbers beside them (Chen et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from tf_simclr.evaluate.report.paper_results import TABLE_6, TABLE_7, TABLE_8, table_8
from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import FEW_LABELS, PRETRAIN, SUPERVISED, TRANSFER, StudyCell
from tf_simclr.studies.tables import Cells, method_flags
from tf_simclr.studies.transfer_sets import TransferSet

# Table 6, in millions.
_PARAMETERS = {1: 24, 2: 94, 4: 375}
# Table 7, as its rows are called here.
_KINDS = {"finetune": "SimCLR", "supervised": "supervised"}
# What a network starts from on another data set; the last has no pretraining.
STARTS = {"SimCLR": PRETRAIN, "supervised": SUPERVISED, "random": None}


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
            paper={"top_1": top_1, "top_5": top_5, "parameters": _PARAMETERS[times] * 1e6},
        )
        for times, (top_1, top_5) in TABLE_6.items()
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
            name=f"{_KINDS[kind]} {times}x",
            place={"method": _KINDS[kind], "width": f"{times}x"},
            flags=wider(scale, times),
            task=FEW_LABELS,
            paper={"top_5_1pct": top_5[0], "top_5_10pct": top_5[1]},
            options={"pretrained": kind == "finetune"},
        )
        for (kind, times), top_5 in TABLE_7.items()
    )


def paper_sets() -> tuple[TransferSet, ...]:
    """The paper's data sets with their metrics; the command line knows their splits."""
    return tuple(TransferSet(name, {"dataset": name}, metric, known_as=name) for name, (metric, *_) in TABLE_8.items())


def table8(scale: str, sets: Sequence[TransferSet] | None = None) -> Cells:
    """Each data set, from each start. A set that cannot be fine-tuned on has no cell of a random start."""
    return tuple(
        StudyCell(
            name=f"{start} {one.name}",
            place={"start": start, "data set": one.name},
            flags=method_flags(scale, task or ""),
            task=TRANSFER,
            paper=_transferred(start, one),
            options={"start": start, "set": one.name, "metric": one.metric},
        )
        for start, task in STARTS.items()
        for one in (paper_sets() if sets is None else sets)
        if task is not None or not one.several
    )


def _transferred(start: str, one: TransferSet) -> dict[str, float]:
    row = table_8(one.known_as)
    if row is None or start == "random":
        return {}
    _, linear, finetuned, after_labels = row
    if start == "supervised":
        return {"transfer_finetuned": after_labels}
    return {"transfer_linear": linear, "transfer_finetuned": finetuned}
