"""What a study is: named cells, the paper's numbers beside them, figures of the results, and findings to check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_simclr.studies.results import Results
from tf_simclr.studies.scales import SCALES

# What a cell does: contrastive pretraining and its evaluation, training with labels, predicting transformations from
# features; histograms of crops, and views that are only drawn, need no training.
PRETRAIN, SUPERVISED, TRANSFORMATIONS, HISTOGRAMS = "pretrain", "supervised", "transformations", "histograms"
DRAWN = "drawn"
# Pretraining, and fine-tuning on a few labels; or training on these labels alone.
FEW_LABELS = "few labels"
# Networks evaluated on another data set, linearly and fine-tuned.
TRANSFER = "transfer"
WITHOUT_TRAINING = frozenset({HISTOGRAMS, DRAWN})


@dataclass(frozen=True)
class Measure:
    """Something that is measured in a cell.

    Attributes:
        label: for axes and tables.
        scale: what a stored value is multiplied with to be shown: accuracies are kept in [0, 1].
        digits: after the point, shown.
    """

    label: str
    scale: float = 100.0
    digits: int = 1

    def show(self, value: float) -> str:
        """A stored value as a person reads it."""
        return f"{self.scale * value:.{self.digits}f}"


MEASURES = {
    "top_1": Measure("linear evaluation of h, test top-1 (%)"),
    "top_5": Measure("linear evaluation of h, test top-5 (%)"),
    "train_top_1": Measure("linear evaluation of h, train top-1 (%)"),
    "projection_top_1": Measure("linear evaluation of g(h), test top-1 (%)"),
    "knn_top_1": Measure("kNN on h, test top-1 (%)"),
    "contrast_acc": Measure("contrastive accuracy (%)"),
    "contrast_entropy": Measure("entropy of the candidates (nats)", scale=1.0, digits=2),
    "contrast_loss": Measure("contrastive loss", scale=1.0, digits=3),
    "top_1_1pct": Measure("test top-1 with 1% of the labels (%)"),
    "top_5_1pct": Measure("test top-5 with 1% of the labels (%)"),
    "top_1_10pct": Measure("test top-1 with 10% of the labels (%)"),
    "top_5_10pct": Measure("test top-5 with 10% of the labels (%)"),
    "transfer_linear": Measure("linear, the metric of the set (%)"),
    "transfer_finetuned": Measure("fine-tuned, the metric of the set (%)"),
    "from_h": Measure("predicted from h, accuracy (%)"),
    "from_projection": Measure("predicted from g(h), accuracy (%)"),
    "parameters": Measure("parameters of the encoder (millions)", scale=1e-6, digits=2),
    "chance": Measure("most frequent answer (%)"),
    "same_picture": Measure("crop's nearest histogram is of its own image (%)"),
}


@dataclass(frozen=True)
class StudyCell:
    """One named config of a study.

    Attributes:
        name: unique in its study; also a file name.
        place: where it stands in tables and figures: axis -> label.
        flags: what it sets beyond the scale, by flag name.
        task: PRETRAIN, SUPERVISED, TRANSFORMATIONS, HISTOGRAMS, DRAWN, FEW_LABELS or TRANSFER.
        paper: the paper's numbers by measure, as stored: accuracies in [0, 1].
        paper_order: its place in the paper's order of the cells, the higher the better, where the paper draws a figure
            without numbers; None for none.
        options: of the task, beyond flags.
    """

    name: str
    place: Mapping[str, str]
    flags: Mapping[str, Any] = field(default_factory=dict)
    task: str = PRETRAIN
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_order: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


# ---- Figures: what is drawn, not how ----


@dataclass(frozen=True)
class HeatMap:
    """A matrix of one measure, as Figure 5; the mean of each row beside it."""

    name: str
    title: str
    measure: str
    rows: str
    columns: str
    row_average: bool = True


@dataclass(frozen=True)
class Bars:
    """Bars of one measure: groups along the x axis, a colour for each label of `series` (None: one colour)."""

    name: str
    title: str
    measure: str
    groups: str
    series: str | None = None


@dataclass(frozen=True)
class Lines:
    """One measure against an axis of numbers, a line for each label of `series`; a panel for each of `panels`."""

    name: str
    title: str
    measure: str
    x: str
    series: str
    log_x: bool = True
    panels: str | None = None


@dataclass(frozen=True)
class Scatter:
    """One measure against another one, a line for each label of `series`; `point` names the axis that labels a point.

    A series of one cell is a level that the others are held against, as the supervised network of Figure 1.
    """

    name: str
    title: str
    x: str
    y: str
    series: str
    point: str


@dataclass(frozen=True)
class Curves:
    """Curves that cells record, as losses by step or histograms; a panel for each label of `panels` where given.

    Attributes:
        curves: names of the recorded curves to draw; empty for all.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: str
    curves: tuple[str, ...] = ()
    panels: str | None = None


@dataclass(frozen=True)
class Views:
    """A row of augmented views of one image for each cell; cells named, or all."""

    name: str
    title: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """A row for each of some images: the image, and a view of it by each cell, as Figure 4."""

    name: str
    title: str
    images: int = 4


Figure = HeatMap | Bars | Lines | Scatter | Curves | Views | Gallery


# ---- Findings ----


@dataclass(frozen=True)
class Evidence:
    """What results say of a finding.

    Attributes:
        holds: whether the means are as it says; None: cells are missing.
        numbers: that say so.
        undecided: whether the gap is under two standard errors, so that other seeds or images might say the opposite.
    """

    holds: bool | None
    numbers: str
    undecided: bool = False


@dataclass(frozen=True)
class Finding:
    """A qualitative statement of the paper as a check.

    Attributes:
        statement: in one sentence.
        check: of the cells and their results, says whether it holds. It may raise NotMeasuredError.
    """

    statement: str
    check: Callable[[tuple[StudyCell, ...], Results], Evidence]


@dataclass(frozen=True)
class Study:
    """A table or figure of the paper.

    Attributes:
        name: as in --study.
        title: with the place in the paper.
        question: what is asked, in a sentence.
        paper_says: what the paper found, in a sentence or two.
        cells: scale -> its cells, in the order they are run.
        figures: what is drawn.
        findings: what is checked.
        compared: the measure whose order is held against the paper's; None where the paper gives no order.
        measures: what its tables show, in order.
        best_of: an axis whose labels stand in the paper with the best of a small grid: the order is that of the best
            cells.
        flags: scale -> what all its cells start from beyond the scale's flags; the command line may change it.
        tables: of the page, beside that of all cells: caption and rows, the header first.
    """

    name: str
    title: str
    question: str
    paper_says: str
    cells: Callable[[str], tuple[StudyCell, ...]]
    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    measures: tuple[str, ...]
    compared: str | None = "top_1"
    best_of: str | None = None
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: Callable[[Sequence[StudyCell], Results], list[tuple[str, list[list[str]]]]] | None = None

    def shared(self, scale: str) -> dict[str, Any]:
        """What all its cells start from, by flag name."""
        return {**SCALES[scale].flags, **self.flags.get(scale, {})}

    def varied(self, scale: str) -> frozenset[str]:
        """Flags that its cells set, so that they cannot be given for all of them."""
        return frozenset(name for cell in self.cells(scale) for name in cell.flags)
