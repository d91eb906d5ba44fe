"""The picture of a confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_simclr.errors import InputError

MOST_NAMES, MOST_COUNTS = 40, 20
LONGEST_NAME = 18
_MOST_TICKS = 21


def require_matplotlib() -> Any:
    """The module matplotlib.figure, which only plots need: a program that will draw asks for it before it works.

    Raises:
        InputError: matplotlib is missing.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise InputError(
            f"Plots need the package matplotlib. Received: {error}. Install it: pip install matplotlib, or the extra "
            "`notebooks` of this package"
        ) from error
    return matplotlib.figure


def draw_confusion(counts: np.ndarray, class_names: Sequence[str], title: str) -> bytes:
    """A PNG of the matrix: the colour is the share of the true class, so that small classes are seen as well.

    Names stand at the axes up to 40 classes, and counts in the cells up to 20; beyond, every k-th class has its number.
    The row of a class without pictures is grey.

    Args:
        counts: integers [true class, predicted class].
        class_names: one for each class.
        title: above the picture.

    Raises:
        InputError: matplotlib is missing, or the names are not those of the classes.
    """
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise InputError(
            f"`counts` must be a square with a row for each of the {classes} names. Received: shape {counts.shape}"
        )
    figure_module = require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    side = float(np.clip(0.42 * classes + 2.2, 4.5, 11))  # inches
    # A canvas of its own: the backend that a notebook has chosen stays.
    figure = figure_module.Figure(figsize=(side + 0.8, side), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.where(sizes > 0, counts / np.maximum(sizes, 1), np.nan)
    axes.set_facecolor("lightgrey")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the true class", fraction=0.046, pad=0.02)
    axes.set_title(title, parse_math=False, fontsize=11, wrap=True)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    _label_axes(axes, class_names)
    if classes <= MOST_COUNTS:
        _write_counts(axes, counts, shares)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _label_axes(axes: Any, class_names: Sequence[str]) -> None:
    classes = len(class_names)
    if classes > MOST_NAMES:
        ticks = range(0, classes, _tick_distance(classes))
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        axes.tick_params(labelsize=8)
        return
    names = [_shown(name, label) for label, name in enumerate(class_names)]
    size = 9 if classes <= MOST_COUNTS else 7
    axes.set_xticks(range(classes), names, rotation=60, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(classes), names, parse_math=False)
    axes.tick_params(labelsize=size)


def _tick_distance(classes: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, .. that leaves room between the numbers."""
    distances = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    return next(distance for distance in distances if -(-classes // distance) <= _MOST_TICKS)


def _shown(name: str, label: int) -> str:
    """The name on one line and not too long; the number of a class whose name the font cannot write."""
    from matplotlib import font_manager

    text = " ".join(name.split())
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    if not text or any(ord(letter) not in font.get_charmap() for letter in text):
        return f"class {label}"
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


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
            color="white" if shares[row, column] > 0.55 else "black",
        )
