"""What the figures of a study share: an empty image, its files, colours, panels and the places of cells."""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.files import write_whole
from tf_simclr.optional import require_matplotlib
from tf_simclr.studies.comparison import Summary
from tf_simclr.studies.study import MEASURES, StudyCell

# Okabe and Ito's colours, which people with any colour vision can tell apart; the light yellow is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MOST_COLUMNS = 3  # of panels
_LETTERS_AN_INCH = 11
# Text stays text, and the same numbers give the same file.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "tf_simclr"}

Place = tuple[str, ...]


def new_canvas(width: float, height: float, title: str) -> Any:
    """An empty image with a title, in inches; it has a canvas of its own, so a notebook's backend stays."""
    matplotlib = require_matplotlib()
    canvas = matplotlib.figure.Figure(figsize=(width, height), dpi=120, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(canvas)
    canvas.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    lines = textwrap.fill(title, max(20, int(width * _LETTERS_AN_INCH)))
    canvas.suptitle(lines, fontsize=12, parse_math=False)
    return canvas


def save(canvas: Any, directory: str, name: str) -> str:
    """Writes NAME.png and NAME.svg, each whole or not at all, and returns the path of the first."""
    tf.io.gfile.makedirs(directory)
    paths = {kind: os.path.join(directory, f"{name}.{kind}") for kind in ("png", "svg")}
    unsigned: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    with require_matplotlib().rc_context(_SVG):
        for kind, path in paths.items():
            content = io.BytesIO()
            canvas.savefig(content, format=kind, metadata=unsigned[kind])
            canvas.set_layout_engine("none")  # the layout is found, and the next file has the same
            write_whole(path, content.getvalue())
    return paths["png"]


def cells_by_place(cells: Sequence[StudyCell], axes: Sequence[str | None]) -> dict[Place, StudyCell]:
    """The cells that stand on all these axes, by their labels there; an axis of None has the one label "".

    Raises:
        ValueError: two cells share a place, of which the figure could only show one.
    """
    placed: dict[Place, StudyCell] = {}
    for cell in cells:
        if any(axis is not None and axis not in cell.place for axis in axes):
            continue
        place = tuple("" if axis is None else cell.place[axis] for axis in axes)
        if place in placed:
            raise ValueError(
                f"A figure shows one cell at a place. Received: {placed[place].name} and {cell.name}, both at "
                f"{', '.join(filter(None, place))}. Give the figure another axis, or take one out of its axes"
            )
        placed[place] = cell
    return placed


def labels_on(places: Iterable[Place], axis: int) -> list[str]:
    """The labels on one axis: ascending where all of them are numbers, and otherwise in the order of the cells."""
    found = list(dict.fromkeys(place[axis] for place in places))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def colours(count: int) -> list[Any]:
    """As many colours that can be distinguished."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return list(require_matplotlib().colormaps["viridis"](np.linspace(0.0, 0.95, count)))


def measure_label(measure: str, numbers: Iterable[Summary | None]) -> str:
    """What stands at the axis of a measure; with several seeds it says what the error bars are."""
    several = any(number is not None and number.seeds > 1 for number in numbers)
    return MEASURES[measure].label + ("\nmean ± standard deviation over seeds" if several else "")


def in_shown_units(measure: str, numbers: Sequence[Summary | None]) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations in shown units, NaN where nothing was measured."""
    scale = MEASURES[measure].scale
    means = np.array([math.nan if number is None else scale * number.mean for number in numbers])
    return means, np.array([0.0 if number is None else scale * number.std for number in numbers])


def add_legend(canvas: Any, handles: Sequence[Any], labels: Sequence[str], title: str) -> None:
    """Beside the panels: no line runs below it."""
    legend = canvas.legend(handles, labels, title=title, loc="outside right upper", fontsize=9, title_fontsize=9)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)


def add_panels(canvas: Any, labels: Sequence[str], axis: str | None = None) -> dict[str, Any]:
    """Panels of one height, three a row: a label of `axis` -> its axes, with both above it."""
    columns = min(_MOST_COLUMNS, len(labels))
    rows = math.ceil(len(labels) / columns)
    grid = canvas.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, label in zip(grid, labels, strict=False):
        axes.set_title("" if axis is None else f"{axis}: {label}", fontsize=10, parse_math=False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelleft=True)
    for axes in grid[len(labels) :]:
        axes.remove()
    return dict(zip(labels, grid, strict=False))


def panel_size(count: int) -> tuple[float, float]:
    """Width and height in inches of an image of so many panels and a legend."""
    columns = min(_MOST_COLUMNS, count)
    return {1: 5.0, 2: 4.2}.get(columns, 3.6) * columns + 2.2, 3.4 * math.ceil(count / columns) + 0.6
