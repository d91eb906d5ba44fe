"""One measure against another, as accuracy against the number of parameters in Figure 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tf_simclr.optional import require_matplotlib
from tf_simclr.studies.comparison import summarise
from tf_simclr.studies.drawing import add_legend, add_panels, colours, labels_on, measure_label, new_canvas, save
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import MEASURES, Scatter, StudyCell

# Of each series its points: label, x, y, and the deviation of y, in shown units.
Points: TypeAlias = dict[str, list[tuple[str, float, float, float]]]
MARKERS = "oXs^vD"


def draw_scatter(figure: Scatter, cells: Sequence[StudyCell], results: Results, directory: str) -> list[str]:
    """Draws the plot as NAME.png and NAME.svg, and the paper's as NAME_paper where it gives numbers.

    Args:
        figure: what to draw.
        cells: of the study; those that were not run are left out.
        results: what was found.
        directory: made where it is missing.

    Returns:
        the PNGs; empty where nothing was measured.

    Raises:
        InputError: matplotlib is missing.
    """
    ours, papers = _ours(figure, cells, results), _papers(figure, cells)
    if not ours:
        return []
    numbers = [summarise(results, cell.name, figure.y) for cell in cells]
    paths = [save(_drawn(figure, ours, figure.title, measure_label(figure.y, numbers)), directory, figure.name)]
    if papers:
        canvas = _drawn(figure, papers, f"{figure.title}: the paper's", MEASURES[figure.y].label)
        paths.append(save(canvas, directory, f"{figure.name}_paper"))
    return paths


def _ours(figure: Scatter, cells: Sequence[StudyCell], results: Results) -> Points:
    points: Points = {}
    for cell in cells:
        x, y = (summarise(results, cell.name, measure) for measure in (figure.x, figure.y))
        if x is not None and y is not None:
            _add(points, figure, cell, x.mean, y.mean, y.std)
    return points


def _papers(figure: Scatter, cells: Sequence[StudyCell]) -> Points:
    points: Points = {}
    for cell in cells:
        if {figure.x, figure.y} <= set(cell.paper):
            _add(points, figure, cell, cell.paper[figure.x], cell.paper[figure.y], 0.0)
    return points


def _add(points: Points, figure: Scatter, cell: StudyCell, x: float, y: float, deviation: float) -> None:
    scales = MEASURES[figure.x].scale, MEASURES[figure.y].scale
    point = cell.place[figure.point], scales[0] * x, scales[1] * y, scales[1] * deviation
    points.setdefault(cell.place[figure.series], []).append(point)


def _drawn(figure: Scatter, points: Mapping[str, list[tuple[str, float, float, float]]], title: str, y: str) -> Any:
    canvas = new_canvas(7.0, 4.4, title)
    axes = add_panels(canvas, [""])[""]
    ticker = require_matplotlib().ticker
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    handles, names = [], labels_on([(name,) for name in points], 0)
    for number, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        own = sorted(points[name], key=lambda point: point[1])
        xs, ys, deviations = ([point[place] for point in own] for place in (1, 2, 3))
        style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 7, "capsize": 3}
        handles.append(axes.errorbar(xs, ys, deviations if any(deviations) else None, color=colour, **style))
        for label, at_x, at_y, _ in own:
            axes.annotate(
                label, (at_x, at_y), xytext=(6, -12), textcoords="offset points", fontsize=8, parse_math=False
            )
        if len(own) == 1:
            axes.axhline(ys[0], color=colour, linewidth=0.8, linestyle=":")
    axes.margins(x=0.12, y=0.14)
    axes.set_xlabel(MEASURES[figure.x].label)
    axes.set_ylabel(y)
    add_legend(canvas, handles, names, figure.series)
    return canvas
