"""The image of a confusion matrix.

scikit-learn's ConfusionMatrixDisplay colours a cell by the number that it writes into it. Here the colour is a share
and the text a count, and names may be long, or in letters that the font does not have.
"""

from __future__ import annotations

import io
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.optional import require_matplotlib

MOST_NAMES, MOST_COUNTS = 40, 20
LONGEST_NAME = 18
_MOST_TICKS = 21


def draw_confusion(counts: np.ndarray, class_names: Sequence[str], title: str) -> bytes:
    """A PNG of the matrix: the colour is the share of the true class, so that small classes are seen as well.

    Colours follow the root of the share: errors are spread over many classes, and would be as white as nothing else.
    Names stand at the axes up to 40 classes, and counts in the cells up to 20; beyond, every k-th class has its number.
    The row of a class without images is grey.

    Args:
        counts: integers [true class, predicted class].
        class_names: one for each class.
        title: above the image.

    Raises:
        InputError: matplotlib is missing, or the names are not those of the classes.
    """
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise InputError(
            f"`counts` must be a square with a row for each of the {classes} names. Received: shape {counts.shape}"
        )
    matplotlib = require_matplotlib()
    side = float(np.clip(0.42 * classes + 2.2, 4.5, 11))  # inches
    # A canvas of its own: the backend that a notebook has chosen stays.
    figure = matplotlib.figure.Figure(figsize=(side + 0.8, side), dpi=120, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = figure.add_subplot()
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.where(sizes > 0, counts / np.maximum(sizes, 1), np.nan)
    axes.set_facecolor("lightgrey")
    image = axes.imshow(shares, cmap="Blues", norm=matplotlib.colors.PowerNorm(0.5, 0, 1), interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.02)
    axes.set_title(title, parse_math=False, fontsize=11, wrap=True)
    _label_axes(axes, class_names)
    if classes <= MOST_COUNTS:
        _write_counts(axes, counts, shares)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _label_axes(axes: Any, class_names: Sequence[str]) -> None:
    classes = len(class_names)
    kind = "class" if classes <= MOST_NAMES else "class, by its number"
    axes.set_xlabel(f"predicted {kind}")
    axes.set_ylabel(f"true {kind}")
    if classes > MOST_NAMES:
        ticks = range(0, classes, _tick_distance(classes))
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        axes.tick_params(labelsize=8)
        return
    letters = _drawable()
    names = [shown_name(name, label, letters) for label, name in enumerate(class_names)]
    size = 9 if classes <= MOST_COUNTS else 7
    axes.set_xticks(range(classes), names, rotation=60, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(classes), names, parse_math=False)
    axes.tick_params(labelsize=size)


def _tick_distance(classes: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, .. that leaves room between the numbers."""
    distances = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    return next(distance for distance in distances if -(-classes // distance) <= _MOST_TICKS)


def _drawable() -> Container[int]:
    """The letters that the font of the axes has."""
    fonts = require_matplotlib().font_manager
    return fonts.get_font(fonts.findfont(fonts.FontProperties())).get_charmap()


def shown_name(name: str, label: int, letters: Container[int]) -> str:
    """What stands at an axis for a class: its name on one line, the middle of a long one left out.

    Args:
        name: of the class.
        label: its number, which stands for a name that cannot be drawn.
        letters: the code points that can be drawn.
    """
    text = " ".join(name.split())
    if not text or any(ord(letter) not in letters for letter in text):
        return f"class {label}"
    if len(text) <= LONGEST_NAME:
        return text
    # Both ends: long names differ in their last word as often as in their first.
    end = (LONGEST_NAME - 1) // 2
    return f"{text[: LONGEST_NAME - 1 - end].rstrip()}…{text[-end:].lstrip()}"


def _write_counts(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    """The counts that are not 0, in a colour that stands out from the cell's."""
    longest = len(str(counts.max()))
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=9 if longest <= 4 else 7,
            color="white" if shares[row, column] > 0.3 else "black",
        )
