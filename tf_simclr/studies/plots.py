"""The figures of a study: what study.py says is drawn, as PNG and SVG.

The plots hold our numbers alone; the paper's matrix of a heat map is an image of its own. A cell that was not run is
grey and hatched, or has a gap: nothing is filled in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_simclr.studies.comparison import Summary, summarise
from tf_simclr.studies.curves import draw_curves
from tf_simclr.studies.drawing import (
    Place,
    add_legend,
    add_panels,
    cells_by_place,
    colours,
    in_shown_units,
    labels_on,
    measure_label,
    new_canvas,
    panel_size,
    save,
)
from tf_simclr.studies.heat_map import draw_heat_maps
from tf_simclr.studies.results import Results
from tf_simclr.studies.scatter import draw_scatter
from tf_simclr.studies.study import MEASURES, Bars, Curves, HeatMap, Lines, Scatter, StudyCell

MARKERS = "osD^vPX*<>"
Drawn = HeatMap | Bars | Lines | Scatter | Curves


def draw(figure: Drawn, cells: Sequence[StudyCell], results: Results, directory: str) -> list[str]:
    """Draws a figure as NAME.png and NAME.svg.

    Args:
        figure: what to draw. A heat map or a scatter plot has a second image, NAME_paper, where the paper gives its
            numbers.
        cells: of the study; those without a place on the figure's axes are not part of it.
        results: what was found; cells may be missing.
        directory: made where it is missing.

    Returns:
        the PNGs; empty where nothing was measured.

    Raises:
        InputError: matplotlib is missing.
    """
    if isinstance(figure, Curves):
        return draw_curves(figure, cells, results, directory)
    if isinstance(figure, HeatMap):
        return draw_heat_maps(figure, cells, results, directory)
    if isinstance(figure, Scatter):
        return draw_scatter(figure, cells, results, directory)
    axes = (figure.groups, figure.series) if isinstance(figure, Bars) else (figure.panels, figure.series, figure.x)
    placed = cells_by_place(cells, axes)
    numbers = {place: summarise(results, cell.name, figure.measure) for place, cell in placed.items()}
    if not any(numbers.values()):
        return []
    canvas = _draw_bars(figure, numbers) if isinstance(figure, Bars) else _draw_lines(figure, numbers)
    return [save(canvas, directory, figure.name)]


# ---- Bars ----


def _draw_bars(figure: Bars, numbers: Mapping[Place, Summary | None]) -> Any:
    groups, series = labels_on(numbers, 0), labels_on(numbers, 1)
    # A series that has no bar in a group leaves no gap there.
    beside = [[label for label in series if (group, label) in numbers] for group in groups]
    most = max(map(len, beside))
    bar_width = 0.8 / most
    bar_inches = max(0.24, 0.5 - 0.08 * most)
    width = max(5.5, len(groups) * (most * bar_inches + 0.25) + 1.2 + 2.0 * (len(series) > 1))
    canvas = new_canvas(width, 4.4, figure.title)
    axes = add_panels(canvas, [""])[""]
    axes.grid(visible=False, axis="x")
    handles = []
    for label, colour in zip(series, colours(len(series)), strict=True):
        own = [(at, labels) for at, labels in enumerate(beside) if label in labels]
        places = np.array([at + (labels.index(label) - (len(labels) - 1) / 2) * bar_width for at, labels in own])
        means, stds = in_shown_units(figure.measure, [numbers[groups[at], label] for at, _ in own])
        handles.append(axes.bar(places, means, 0.92 * bar_width, color=colour, zorder=2))
        several = stds > 0
        axes.errorbar(places[several], means[several], stds[several], fmt="none", ecolor="#333333", capsize=2, zorder=3)
        for place, mean, std in zip(places, means, stds, strict=True):
            _write_over_bar(axes, place, mean, std, MEASURES[figure.measure].digits, upright=most == 1)
    axes.margins(y=0.14)
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if _crowded(groups, width) else {}
    axes.set_xticks(range(len(groups)), groups, parse_math=False, **slant)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_xlabel(figure.groups, parse_math=False)
    axes.set_ylabel(measure_label(figure.measure, numbers.values()))
    if figure.series is not None:
        add_legend(canvas, handles, series, figure.series)
    return canvas


def _write_over_bar(axes: Any, place: float, mean: float, std: float, digits: int, *, upright: bool) -> None:
    """The bar's number; for one that was not run words in its place."""
    missing = math.isnan(mean)
    axes.annotate(
        "no number" if missing else f"{mean:.{digits}f}",
        (place, 0.0 if missing else max(mean + std, 0.0)),
        xytext=(0, 3),
        textcoords="offset points",
        rotation=0 if upright else 90,
        ha="center",
        va="bottom",
        fontsize=8,
        color="#767676" if missing else "black",
    )


def _crowded(labels: Sequence[str], width: float) -> bool:
    return max(map(len, labels)) * len(labels) > 8.0 * (width - 2.0)


# ---- Lines ----


def _draw_lines(figure: Lines, numbers: Mapping[Place, Summary | None]) -> Any:
    panels, series = labels_on(numbers, 0), labels_on(numbers, 1)
    canvas = new_canvas(*panel_size(len(panels)), figure.title)
    handles: dict[str, Any] = {}
    label_y = measure_label(figure.measure, numbers.values())
    for panel, axes in add_panels(canvas, panels, figure.panels).items():
        for index, (label, colour) in enumerate(zip(series, colours(len(series)), strict=True)):
            own = {float(x): n for (p, s, x), n in numbers.items() if (p, s) == (panel, label) and n is not None}
            if not own:
                continue
            xs = sorted(own)
            means, stds = in_shown_units(figure.measure, [own[x] for x in xs])
            handles[label] = axes.errorbar(
                xs,
                means,
                stds if stds.any() else None,
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                linewidth=1.5,
                capsize=3,
            )
        _set_number_axis(axes, [x for p, _, x in numbers if p == panel], figure.log_x)
        axes.set_xlabel(figure.x, parse_math=False)
    canvas.axes[0].set_ylabel(label_y)
    found = [label for label in series if label in handles]
    add_legend(canvas, [handles[label] for label in found], found, figure.series)
    return canvas


def _set_number_axis(axes: Any, labels: Sequence[str], log_x: bool) -> None:
    """Ticks at the given numbers, as they are written, and nowhere else."""
    written = {float(label): label for label in labels}
    if log_x:
        axes.set_xscale("log", base=2)
    axes.set_xticks(list(written), list(written.values()), parse_math=False)
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=9)
