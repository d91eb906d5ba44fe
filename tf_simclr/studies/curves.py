"""Curves that cells record, as losses by step or histograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_simclr.studies.drawing import (
    add_legend,
    add_panels,
    cells_by_place,
    colours,
    labels_on,
    new_canvas,
    panel_size,
    save,
)
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import Curves, StudyCell

STYLES = ("-", "--", ":", "-.")
MOST_POINTS = 300  # of a curve: a longer one is drawn by the means of its parts


def draw_curves(figure: Curves, cells: Sequence[StudyCell], results: Results, directory: str) -> list[str]:
    """A line for each seed: of one colour for a series; a style for each curve's name, where they are few."""
    placed = cells_by_place(cells, (figure.panels, figure.series))
    recorded = [name for cell in placed.values() for result in results.of(cell.name) for name in result.curves]
    names = list(dict.fromkeys(name for name in recorded if not figure.curves or name in figure.curves))
    if not names:
        return []
    panels, series = labels_on(placed, 0), labels_on(placed, 1)
    look = _looks(series, names)
    canvas = new_canvas(*panel_size(len(panels)), figure.title)
    handles: dict[str, Any] = {}
    for panel, axes in add_panels(canvas, panels, figure.panels).items():
        axes.set_xlabel(figure.x_label, parse_math=False)
        for label in (label for label in series if (panel, label) in placed):
            for result in results.of(placed[panel, label].name):
                for name in (name for name in names if name in result.curves):
                    x, y = _thinned(result.curves[name])
                    colour, style, legend = look(label, name)
                    (handles[legend],) = axes.plot(x, y, color=colour, linestyle=style, linewidth=1.3, alpha=0.85)
    canvas.axes[0].set_ylabel(figure.y_label, parse_math=False)
    add_legend(canvas, list(handles.values()), list(handles), figure.series if len(series) > 1 else "")
    return [save(canvas, directory, figure.name)]


def _looks(series: Sequence[str], names: Sequence[str]) -> Callable[[str, str], tuple[Any, str, str]]:
    """(series, name of the curve) -> colour, line style, words of the legend."""
    if len(series) == 1:
        of_name = dict(zip(names, colours(len(names)), strict=True))
        return lambda label, name: (of_name[name], "-", name)
    of_label = dict(zip(series, colours(len(series)), strict=True))
    if not 1 < len(names) <= len(STYLES):
        return lambda label, name: (of_label[label], "-", label)
    of_style = dict(zip(names, STYLES, strict=False))
    return lambda label, name: (of_label[label], of_style[name], f"{label}, {name}")


def _thinned(curve: Mapping[str, Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most MOST_POINTS points: an image shows no more, and the file stays small."""
    x, y = (np.asarray(curve[axis], float) for axis in ("x", "y"))
    if len(x) <= MOST_POINTS:
        return x, y
    starts = np.linspace(0, len(x), MOST_POINTS, endpoint=False).astype(int)
    sizes: np.ndarray = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes
