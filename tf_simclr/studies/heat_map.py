"""A matrix of one measure, as Figure 5, and the paper's own beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_simclr.optional import require_matplotlib
from tf_simclr.studies.comparison import summarise
from tf_simclr.studies.drawing import Place, cells_by_place, labels_on, new_canvas, save
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import MEASURES, HeatMap, StudyCell

PAPER_SUFFIX = "_paper"
_NO_NUMBER = {"facecolor": "#e4e4e4", "edgecolor": "#a8a8a8", "hatch": "///", "linewidth": 0.0}


def draw_heat_maps(figure: HeatMap, cells: Sequence[StudyCell], results: Results, directory: str) -> list[str]:
    """Our matrix, and the paper's where it has most of the numbers; the PNGs, none where nothing was measured."""
    placed = cells_by_place(cells, (figure.rows, figure.columns))
    ours = {place: summarise(results, cell.name, figure.measure) for place, cell in placed.items()}
    means = {place: number.mean for place, number in ours.items() if number and math.isfinite(number.mean)}
    if not means:
        return []
    rows, columns = labels_on(placed, 0), labels_on(placed, 1)
    drawn = [save(_heat_map(figure, figure.title, rows, columns, means), directory, figure.name)]
    paper = {place: cell.paper[figure.measure] for place, cell in placed.items() if figure.measure in cell.paper}
    if 2 * len(paper) > len(placed):
        canvas = _heat_map(figure, f"{figure.title}: the paper's numbers", rows, columns, paper)
        drawn.append(save(canvas, directory, figure.name + PAPER_SUFFIX))
    return drawn


def _heat_map(
    figure: HeatMap, title: str, rows: Sequence[str], columns: Sequence[str], values: Mapping[Place, float]
) -> Any:
    """The matrix; the mean of a row stands beside it where the row is whole, since others cannot be compared."""
    matplotlib = require_matplotlib()
    measure = MEASURES[figure.measure]
    matrix = measure.scale * np.array([[values.get((row, column), math.nan) for column in columns] for row in rows])
    low, high = float(np.nanmin(matrix)), float(np.nanmax(matrix))
    norm = matplotlib.colors.Normalize(low, high if high > low else low + 1.0)
    colour_map = matplotlib.colormaps["viridis"]
    places = [float(column) for column in range(len(columns))]
    if figure.row_average:
        matrix = np.concatenate([matrix, matrix.mean(axis=1, keepdims=True)], axis=1)
        places.append(len(columns) + 0.35)
    width = 0.72 * (places[-1] + 1.0) + 0.09 * max(map(len, rows)) + 1.8
    canvas = new_canvas(width, 0.52 * len(rows) + 2.0, title)
    axes = canvas.add_subplot()
    for (row, column), value in np.ndenumerate(matrix):
        _heat_cell(axes, places[column], row, value, f"{value:.{measure.digits}f}", colour_map(norm(value)))
    axes.set_xlim(-0.5, places[-1] + 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    heads = [*columns, "average"] if figure.row_average else list(columns)
    long = max(map(len, heads)) > 8
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks(places, heads, parse_math=False, **slant)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_xlabel(figure.columns, parse_math=False)
    axes.set_ylabel(figure.rows, parse_math=False)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    mappable = matplotlib.cm.ScalarMappable(norm, colour_map)
    bar = canvas.colorbar(mappable, ax=axes, label=measure.label, pad=0.02, aspect=25)
    bar.solids.set_rasterized(True)  # one image instead of 256 rectangles
    bar.outline.set_visible(False)
    return canvas


def _heat_cell(axes: Any, x: float, y: float, value: float, text: str, colour: tuple[float, ...]) -> None:
    rectangle = require_matplotlib().patches.Rectangle
    corner, side = (x - 0.48, y - 0.48), 0.96
    if math.isnan(value):
        axes.add_patch(rectangle(corner, side, side, **_NO_NUMBER))
        return
    axes.add_patch(rectangle(corner, side, side, facecolor=colour, linewidth=0.0))
    axes.text(x, y, text, ha="center", va="center", fontsize=10, color=_readable_on(colour))


def _readable_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever stands out more (WCAG 2: both have a contrast of 4.6 at a luminance of 0.179)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "black" if np.dot(linear, [0.2126, 0.7152, 0.0722]) > 0.179 else "white"
