"""The cells of every study, with the paper's numbers beside them (Chen et al. 2020, arXiv 2002.05709v3)."""

from __future__ import annotations

import math
from typing import Any

from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import DRAWN, HISTOGRAMS, PRETRAIN, SUPERVISED, TRANSFORMATIONS, StudyCell

Cells = tuple[StudyCell, ...]
# What Table 1 and Figure 7 compare.
_METHODS = {"SimCLR": PRETRAIN, "supervised": SUPERVISED}


def method_flags(scale: str, task: str) -> dict[str, Any]:
    """What a cell of a task sets beyond the scale's flags."""
    return dict(SCALES[scale].supervised) if task == SUPERVISED else {}


# ---- Augmentations: Figure 4, Figure 5, Table 1, Figure 6 ----

# Figure 4: every operator alone, on each image; without a crop the whole image is resized.
_FIGURE_4 = {
    "crop": "crop",
    "crop and flip": "crop,flip",
    "colour drop": "color_drop@1",
    "colour jitter": "color_jitter@1",
    "rotate": "rotate",
    "cutout": "cutout",
    "noise": "noise",
    "blur": "blur@1",
    "Sobel": "sobel",
}

# What an operator of Figure 5 is in --augmentation.
OPERATOR_FLAGS = {"color": "color_jitter,color_drop"}
# Figure 5: rows are applied first, columns second, the diagonal once.
_FIGURE_5 = {
    "crop": (33.1, 33.9, 56.3, 46.0, 39.9, 35.0, 30.2),
    "cutout": (32.2, 25.6, 33.9, 40.0, 26.5, 25.2, 22.4),
    "color": (55.8, 35.5, 18.8, 21.0, 11.4, 16.5, 20.8),
    "sobel": (46.2, 40.6, 20.9, 4.0, 9.3, 6.2, 4.2),
    "noise": (38.8, 25.8, 7.5, 7.6, 9.8, 9.8, 9.6),
    "blur": (35.1, 25.2, 16.6, 5.8, 9.7, 2.6, 6.7),
    "rotate": (30.0, 22.5, 20.7, 4.3, 9.7, 6.5, 2.6),
}
_TABLE_1 = {
    "1/8": (59.6, 77.0),
    "1/4": (61.0, 76.7),
    "1/2": (62.6, 76.5),
    "1": (63.2, 75.7),
    "1 + blur": (64.5, 75.4),
    "AutoAugment": (61.1, 77.1),
}


def figure4(scale: str) -> Cells:
    """Each operator by itself; nothing is trained."""
    del scale
    return tuple(
        StudyCell(name, {"operator": name}, {"augmentation": composition}, DRAWN)
        for name, composition in _FIGURE_4.items()
    )


def pair_name(first: str, second: str) -> str:
    """The name of a cell of Figure 5."""
    return first if first == second else f"{first}+{second}"


def figure5(scale: str) -> Cells:
    """Single operators and ordered pairs on one branch, behind a crop that both views share."""
    cells = []
    for first in SCALES[scale].operators:
        for second in SCALES[scale].operators:
            names = dict.fromkeys((first, second))
            cells.append(
                StudyCell(
                    name=pair_name(first, second),
                    place={"first": first, "second": second},
                    flags={
                        "augmentation": ",".join(OPERATOR_FLAGS.get(name, name) for name in names),
                        "augmentation_branch": "one",
                    },
                    paper={"top_1": _FIGURE_5[first][list(_FIGURE_5).index(second)] / 100},
                )
            )
    return tuple(cells)


def table1(scale: str) -> Cells:
    """Strengths of colour distortion, blur and AutoAugment, for SimCLR and for training with labels."""
    compositions = {
        name: f"crop,flip,color_jitter:{strength:g},color_drop" for name, strength in SCALES[scale].strengths
    }
    strongest = compositions[SCALES[scale].strengths[-1][0]]
    compositions |= {"1 + blur": f"{strongest},blur", "AutoAugment": "crop,flip,autoaugment"}
    return tuple(
        StudyCell(
            name=f"{method} {name}",
            place={"method": method, "colour distortion": name},
            flags={"augmentation": composition} | method_flags(scale, task),
            task=task,
            paper={"top_1": _TABLE_1[name][column] / 100},
        )
        for column, (method, task) in enumerate(_METHODS.items())
        for name, composition in compositions.items()
    )


def figure6(scale: str) -> Cells:
    """Histograms of crops without and with colour distortion."""
    size = SCALES[scale]
    return tuple(
        StudyCell(
            name=name,
            place={"views": name},
            flags={"augmentation": augmentation},
            task=HISTOGRAMS,
            options={"strength": strength, "pictures": size.images, "crops": size.crops},
        )
        for name, augmentation, strength in (
            ("crop", "crop", None),
            ("crop and colour distortion", "crop,color_jitter:1,color_drop", 1.0),
        )
    )


# ---- Networks and heads: Figure 7, Figure 8, Table 3, head_curves ----


def figure7(scale: str) -> Cells:
    """Depth and width, for SimCLR and for training with labels."""
    return tuple(
        StudyCell(
            name=f"{method} R{depth} {width:g}x",
            place={"method": method, "depth": f"ResNet-{depth}", "width": f"{width:g}"},
            flags={"resnet_depth": depth, "width_multiplier": width} | method_flags(scale, task),
            task=task,
        )
        for method, task in _METHODS.items()
        for depth in SCALES[scale].depths
        for width in SCALES[scale].widths
    )


# Figure 8 has no numbers; Section 4.2: nonlinear is better than linear by 3 points, and than none by more than 10.
_HEAD_ORDER = {"none": 0.0, "linear": 1.0, "nonlinear": 2.0}


def figure8(scale: str) -> Cells:
    """Projection heads and the dimension of z; without a head z is h."""
    size = SCALES[scale]
    none = StudyCell(
        name="none",
        place={"head": "none", "dimension": str(size.h_dim)},
        flags={"proj_head_mode": "none"},
        paper_order=_HEAD_ORDER["none"],
    )
    heads = tuple(
        StudyCell(
            name=f"{head} {dimension}",
            place={"head": head, "dimension": str(dimension)},
            flags={"proj_head_mode": head, "proj_out_dim": dimension},
            paper_order=_HEAD_ORDER[head],
        )
        for dimension in size.head_dims
        for head in ("linear", "nonlinear")
    )
    return (none, *heads)


# Table 3: which operator pretraining has beside the others, and the paper's accuracies from h and from g(h).
_TABLE_3 = {
    "colour or grey": ("color_or_grey", "", 99.3, 97.4, 80.0),
    "rotation": ("rotation", ",rotate", 67.6, 25.6, 25.0),
    "original or noise": ("noise", ",noise", 99.5, 59.6, 50.0),
    "original or Sobel": ("sobel", ",sobel", 96.6, 56.3, 50.0),
}


def table3(scale: str) -> Cells:
    """What an MLP can find out about a transformation, from h and from g(h) of the same dimension."""
    size = SCALES[scale]
    return tuple(
        StudyCell(
            name=name,
            place={"transformation": name},
            flags={
                "augmentation": "crop,flip,color_jitter,color_drop" + more,
                "proj_out_dim": size.h_dim,
            },
            task=TRANSFORMATIONS,
            paper={"from_h": from_h / 100, "from_projection": from_z / 100, "chance": chance / 100},
            options={"transformation": task},
        )
        for name, (task, more, from_h, from_z, chance) in _TABLE_3.items()
    )


def head_curves(scale: str) -> Cells:
    """A linear and a nonlinear head along their pretraining."""
    return tuple(
        StudyCell(
            name=f"{head} head",
            place={"head": head},
            flags={"proj_head_mode": head},
            paper_order=_HEAD_ORDER[head],
            options={"curve_points": SCALES[scale].curve_points},
        )
        for head in ("linear", "nonlinear")
    )


# ---- Losses: Table 4, Table 5 ----

_TABLE_4: dict[str, tuple[dict[str, Any], float]] = {
    "margin": ({"loss": "margin_triplet"}, 50.9),
    "NT-Logistic": ({"loss": "nt_logistic"}, 51.6),
    "margin (sh)": ({"loss": "margin_triplet", "semi_hard": True}, 57.5),
    "NT-Logistic (sh)": ({"loss": "nt_logistic", "semi_hard": True}, 57.9),
    "NT-Xent": ({"loss": "nt_xent"}, 63.9),
}


def table4(scale: str) -> Cells:
    """Losses, each with a small grid: of temperatures, or of margins where the loss has no temperature."""
    cells = []
    for name, (flags, paper) in _TABLE_4.items():
        triplet = flags["loss"] == "margin_triplet"
        for value in SCALES[scale].margins if triplet else SCALES[scale].temperatures:
            setting = f"margin={value:g}" if triplet else f"tau={value:g}"
            cells.append(
                StudyCell(
                    name=f"{name} {setting}",
                    place={"loss": name, "setting": setting},
                    flags=flags | {"margin" if triplet else "temperature": value},
                    paper={"top_1": paper / 100},
                )
            )
    return tuple(cells)


# Table 5: l2 norm, temperature: entropy, contrastive accuracy, top-1.
_TABLE_5 = {
    (True, 0.05): (1.0, 90.5, 59.7),
    (True, 0.1): (4.5, 87.8, 64.4),
    (True, 0.5): (8.2, 68.2, 60.7),
    (True, 1.0): (8.3, 59.1, 58.0),
    (False, 10.0): (0.5, 91.7, 57.2),
    (False, 100.0): (0.5, 92.1, 57.0),
}


def table5(scale: str) -> Cells:
    """With and without l2 normalisation, by temperature."""
    del scale
    return tuple(
        StudyCell(
            name=f"{'l2 norm' if norm else 'no norm'} tau={temperature:g}",
            place={"l2 norm": "yes" if norm else "no", "temperature": f"{temperature:g}"},
            flags={"hidden_norm": norm, "temperature": temperature},
            paper={"top_1": top_1 / 100, "contrast_acc": accuracy / 100, "contrast_entropy": entropy},
        )
        for (norm, temperature), (entropy, accuracy, top_1) in _TABLE_5.items()
    )


# ---- Batch size: Figure 9 ----


def figure9(scale: str) -> Cells:
    """Batch sizes and lengths of training, with linear and square-root scaling of the learning rate (Appendix B.1).

    Both scalings give the scale's own batch the same rate.
    """
    size = SCALES[scale]
    rate, batch = size.flags["learning_rate"], size.flags["train_batch_size"]
    base = {"linear": rate, "sqrt": rate * math.sqrt(batch) / 256.0}
    return tuple(
        StudyCell(
            name=f"{scaling} batch={batch} epochs={epochs:g}",
            place={"batch": str(batch), "epochs": f"{epochs:g}", "scaling": f"{scaling} scaling"},
            flags={
                "train_batch_size": batch,
                "train_epochs": epochs,
                "train_steps": 0,
                "learning_rate": base[scaling],
                "learning_rate_scaling": scaling,
                "warmup_epochs": min(size.flags["warmup_epochs"], epochs / 4),
            },
        )
        for scaling in ("linear", "sqrt")
        for epochs in size.epochs
        for batch in size.batches
    )
