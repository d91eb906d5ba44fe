from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from tests.studies.made_up import CELLS, HEAT_MAP, MISSING, OPERATORS, RESULTS
from tf_simclr.errors import InputError
from tf_simclr.studies import curves, heat_map, plots, scatter
from tf_simclr.studies.curves import MOST_POINTS
from tf_simclr.studies.drawing import colours
from tf_simclr.studies.results import CellResult, Results
from tf_simclr.studies.study import Bars, Curves, HeatMap, Lines, Scatter, StudyCell

matplotlib = pytest.importorskip("matplotlib", reason="plots need the extra `evaluate`")

NOTHING = Results([])
HATCHED = 2  # the missing cell, and the average of its row


@pytest.fixture
def kept(monkeypatch):
    """The images that were to be saved, as matplotlib's figures."""
    canvases = []
    for module in (plots, heat_map, curves, scatter):
        monkeypatch.setattr(module, "save", lambda canvas, directory, name: canvases.append(canvas) or name)
    return canvases


def texts_of(path):
    """All text of an SVG, which stays text."""
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def svg_of(png):
    return png.removesuffix(".png") + ".svg"


def grid(axes, labels_a, labels_b, value, seeds=(0, 1, 2)):
    """Cells on two axes, and results of value(a, b, seed)."""
    cells = [StudyCell(f"{a}/{b}", dict(zip(axes, (a, b), strict=True))) for a in labels_a for b in labels_b]
    found = [
        CellResult(f"{a}/{b}", seed, {"top_1": value(a, b, seed)}) for a in labels_a for b in labels_b for seed in seeds
    ]
    return cells, Results(found)


# ---- Heat map ----


def test_a_heat_map_shows_ours_and_the_paper_s_beside_it(tmp_path):
    drawn = plots.draw(HEAT_MAP, CELLS, RESULTS, str(tmp_path))
    assert drawn == [str(tmp_path / "pairs.png"), str(tmp_path / "pairs_paper.png")]
    mine, papers = (texts_of(svg_of(path)) for path in drawn)
    # The first row lacks its second cell, and so has no average.
    assert [text for text in mine if re.fullmatch(r"\d\d\.\d", text)] == [
        "10.0", "30.0", "40.0", "50.0", "60.0", "50.0", "70.0", "80.0", "90.0", "80.0",
    ]  # fmt: skip
    assert [text for text in papers if re.fullmatch(r"\d+\.\d", text)][:4] == ["1.1", "2.2", "3.3", "2.2"]
    for texts in (mine, papers):
        assert {*OPERATORS, "average", "1st", "2nd"} <= set(texts)
    assert "Pairs of operators" in mine and "Pairs of operators: the paper's numbers" in papers
    for path in drawn:
        assert Path(path).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_cell_without_a_number_is_hatched(kept):
    plots.draw(HEAT_MAP, CELLS, RESULTS, "")
    mine, papers = (canvas.axes[0].patches for canvas in kept)
    assert len(mine) == len(papers) == 9 + 3
    assert sum(patch.get_hatch() is not None for patch in mine) == HATCHED
    assert not any(patch.get_hatch() for patch in papers)


def test_the_average_stands_apart_and_can_be_left_out(kept):
    plots.draw(HEAT_MAP, CELLS, RESULTS, "")
    plots.draw(HeatMap("m", "t", "top_1", "1st", "2nd", row_average=False), CELLS, RESULTS, "")
    with_average, without = kept[0].axes[0], kept[2].axes[0]
    assert list(with_average.get_xticks()) == pytest.approx([0, 1, 2, 3.35])
    assert list(without.get_xticks()) == [0, 1, 2] and len(without.patches) == 9


def test_the_paper_s_matrix_needs_most_of_its_numbers(tmp_path):
    def with_numbers(count):
        cells = [StudyCell(c.name, c.place, paper=c.paper if n < count else {}) for n, c in enumerate(CELLS)]
        return plots.draw(HEAT_MAP, cells, RESULTS, str(tmp_path))

    assert [len(with_numbers(count)) for count in (0, 4, 5)] == [1, 1, 2]


def test_equal_numbers_make_a_heat_map(kept):
    plots.draw(HEAT_MAP, CELLS[:1], RESULTS, "")
    assert kept[0].axes[0].texts[0].get_text() == "10.0"


@pytest.mark.parametrize("level", np.linspace(0, 1, 11))
def test_numbers_stand_out_from_their_cells(level):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    cell = matplotlib.colormaps["viridis"](level)
    text = {"black": 0.0, "white": 1.0}[heat_map._readable_on(cell)]
    low, high = sorted((luminance(cell), text))
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2, level AA


# ---- Bars ----


def test_bars_and_their_errors(kept):
    cells, results = grid(("head", "size"), ("linear", "none"), ("32", "64"), lambda a, b, s: int(b) / 100 + s / 10)
    missing = StudyCell("linear/128", {"head": "linear", "size": "128"})
    assert plots.draw(Bars("b", "t", "top_1", "size", "head"), [*cells, missing], results, "") == ["b"]
    axes = kept[0].axes[0]
    bars = [patch for container in axes.containers for patch in getattr(container, "patches", ())]
    assert [bar.get_height() for bar in bars] == pytest.approx([42, 74, np.nan, 42, 74], nan_ok=True)
    ends = [segment[:, 1] for lines in axes.collections for segment in lines.get_segments()]
    assert np.allclose(ends, [[32, 52], [64, 84]] * 2)  # the deviation of 32, 42, 52 is 10
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32", "64", "128"]
    words = [text.get_text() for text in axes.texts]
    assert words == ["42.0", "74.0", "no number", "42.0", "74.0"]
    assert "standard deviation over seeds" in axes.get_ylabel()
    assert [text.get_text() for text in kept[0].legends[0].get_texts()] == ["linear", "none"]
    lefts = [bar.get_x() for bar in bars]
    assert lefts[0] + bars[0].get_width() <= lefts[3] < lefts[1], "a group's bars stand side by side"
    assert lefts[2] + bars[2].get_width() / 2 == pytest.approx(2), "a bar alone stands in the middle"


def test_bars_of_one_colour_have_no_legend_and_one_seed_no_error(kept):
    cells, results = grid(("head", "size"), ("linear",), ("32", "64"), lambda a, b, s: 0.5, seeds=(7,))
    plots.draw(Bars("b", "t", "top_1", "size"), cells, results, "")
    assert not kept[0].legends
    axes = kept[0].axes[0]
    assert not any(len(lines.get_segments()) for lines in axes.collections)
    assert axes.get_ylabel() == "linear evaluation of h, test top-1 (%)"


def test_groups_that_are_numbers_ascend(kept):
    cells, results = grid(("head", "size"), ("linear",), ("128", "32", "0.5"), lambda a, b, s: float(b) / 200)
    plots.draw(Bars("b", "t", "top_1", "size"), cells, results, "")
    axes = kept[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "32", "128"]
    heights = [patch.get_height() for container in axes.containers for patch in getattr(container, "patches", ())]
    assert heights == pytest.approx([0.25, 16, 64])


# ---- Lines ----


def lines_study():
    cells, found = [], []
    for data in ("first", "second"):
        for epochs in ("100", "200"):
            for batch in ("256", "64", "1024"):
                name = f"{data}-{epochs}-{batch}"
                cells.append(StudyCell(name, {"data": data, "epochs": epochs, "batch": batch}))
                if name != "first-100-256":
                    found += [CellResult(name, s, {"top_1": int(batch) / 2048 + s / 100}) for s in (0, 1)]
    return cells, Results(found)


def test_lines_in_panels(kept):
    cells, results = lines_study()
    plots.draw(Lines("l", "t", "top_1", "batch", "epochs", panels="data"), cells, results, "")
    first, second = kept[0].axes
    assert [axes.get_title() for axes in kept[0].axes] == ["data: first", "data: second"]
    drawn = {
        number: [line.get_xydata() for line in axes.lines if line.get_linestyle() == "-"]
        for number, axes in enumerate((first, second))
    }
    assert np.allclose(drawn[0][0][:, 0], [64, 1024]), "the line goes past what was not run"
    assert np.allclose(drawn[1][0], [[64, 3.625], [256, 13.0], [1024, 50.5]])
    assert first.get_xscale() == "log" and first.get_ylim() == second.get_ylim()
    ticks = {tick: label.get_text() for tick, label in zip(second.get_xticks(), second.get_xticklabels(), strict=True)}
    assert ticks == {64: "64", 256: "256", 1024: "1024"} and not len(second.get_xticks(minor=True))
    legend = kept[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["100", "200"]
    assert legend.get_title().get_text() == "epochs"


def test_an_axis_can_be_plain(kept):
    cells, results = lines_study()
    chosen = [cell for cell in cells if cell.place["data"] == "second"]
    plots.draw(Lines("l", "t", "top_1", "batch", "epochs", log_x=False), chosen, results, "")
    (axes,) = kept[0].axes
    assert axes.get_xscale() == "linear" and axes.get_title() == ""


# ---- One measure against another ----


def test_a_scatter_plot_and_the_paper_s(kept):
    figure = Scatter("figure", "Top-1 against parameters", "parameters", "top_1", "method", "width")
    cells = [
        StudyCell("b", {"method": "ours", "width": "2x"}, paper={"parameters": 4e6, "top_1": 0.7}),
        StudyCell("a", {"method": "ours", "width": "1x"}, paper={"parameters": 1e6, "top_1": 0.6}),
        StudyCell("c", {"method": "labels", "width": "1x"}),
        StudyCell("missing", {"method": "ours", "width": "4x"}),
    ]
    numbers = {"a": (1.5e6, 0.3), "b": (6e6, 0.5), "c": (1.5e6, 0.4)}
    results = Results(
        CellResult(name, seed, {"parameters": count, "top_1": top_1 + seed / 50})
        for name, (count, top_1) in numbers.items()
        for seed in (0, 1)
    )
    assert plots.draw(figure, cells, results, "") == ["figure", "figure_paper"]
    mine, papers = (canvas.axes[0] for canvas in kept)
    ours, labels = (container.lines[0] for container in mine.containers)
    assert ours.get_xdata().tolist() == [1.5, 6] and ours.get_ydata() == pytest.approx([31, 51])
    assert (labels.get_xdata().tolist(), labels.get_ydata()) == ([1.5], pytest.approx([41]))
    assert [text.get_text() for text in mine.texts] == ["1x", "2x", "1x"]
    assert mine.get_xscale() == "log" and "parameters" in mine.get_xlabel() and "± standard" in mine.get_ylabel()
    assert papers.containers[0].lines[0].get_ydata() == pytest.approx([60, 70])
    kept.clear()
    assert plots.draw(figure, cells[2:3], results, "") == ["figure"]
    assert plots.draw(figure, cells, NOTHING, "") == []


def test_as_many_colours_as_series():
    for count in (1, 7, 12):
        made = [matplotlib.colors.to_hex(colour) for colour in colours(count)]
        assert len(set(made)) == count


# ---- Curves ----


def test_curves_of_each_seed(kept):
    cells = [StudyCell(f"{p}{s}", {"head": s, "data": p}) for p in "ab" for s in ("linear", "none")]
    steps = list(range(2000))
    found = [
        CellResult(
            cell.name, seed, {}, {"loss": {"x": steps, "y": [seed + 0.5] * 2000}, "other": {"x": [0, 1], "y": [1, 2]}}
        )
        for cell in cells
        for seed in (0, 1)
    ]
    figure = Curves("c", "t", "step", "loss", "head", ("loss",), panels="data")
    assert plots.draw(figure, cells, Results(found), "") == ["c"]
    for axes in kept[0].axes:
        assert len(axes.lines) == 4
        for line in axes.lines:
            x, y = line.get_data()
            assert len(x) == MOST_POINTS and np.all(np.diff(x) > 0)
            assert set(y) <= {0.5, 1.5} and x[0] == pytest.approx(2.5, abs=0.5) and x[-1] > 1990
    assert [text.get_text() for text in kept[0].legends[0].get_texts()] == ["linear", "none"]
    plots.draw(Curves("c", "t", "step", "loss", "head"), cells[:2], Results(found), "")
    words = [text.get_text() for text in kept[1].legends[0].get_texts()]
    assert words == ["linear, loss", "linear, other", "none, loss", "none, other"]
    assert len({(line.get_color(), line.get_linestyle()) for line in kept[1].axes[0].lines}) == 4


def test_curves_of_one_cell_have_a_colour_each(kept):
    found = [CellResult("a", 0, {}, {f"crop {n}": {"x": [0, 1], "y": [n, 1]} for n in range(6)})]
    plots.draw(Curves("c", "t", "x", "y", "image"), [StudyCell("a", {"image": "1"})], Results(found), "")
    assert len({line.get_color() for line in kept[0].axes[0].lines}) == 6
    assert [text.get_text() for text in kept[0].legends[0].get_texts()] == [f"crop {n}" for n in range(6)]


# ---- All of them ----


@pytest.mark.parametrize(
    "figure",
    [
        HEAT_MAP,
        Bars("b", "t", "top_1", "1st", "2nd"),
        Lines("l", "t", "top_1", "1st", "2nd"),
        Curves("c", "t", "x", "y", "1st"),
    ],
    ids=lambda figure: type(figure).__name__,
)
def test_nothing_measured_is_not_drawn(figure, tmp_path):
    cells = CELLS[::4]  # the diagonal: each label once on each axis
    assert plots.draw(figure, cells, NOTHING, str(tmp_path)) == []
    assert not list(tmp_path.iterdir())


def test_two_cells_at_one_place():
    twice = [CELLS[0], StudyCell("another", CELLS[0].place)]
    with pytest.raises(ValueError, match=r"one cell at a place\. Received: crop\+crop and another, both at crop, crop"):
        plots.draw(HEAT_MAP, twice, RESULTS, "")


def test_cells_elsewhere_are_no_part_of_a_figure(kept):
    baseline = StudyCell("supervised", {"training": "with labels"})
    plots.draw(HEAT_MAP, [*CELLS, baseline], RESULTS, "")
    assert "supervised" not in {text.get_text() for text in kept[0].axes[0].texts}
    assert len(kept[0].axes[0].patches) == 12


@pytest.mark.filterwarnings("error")
def test_the_same_numbers_give_the_same_small_files(tmp_path):
    before = dict(matplotlib.rcParams)
    for name in ("a", "b"):
        plots.draw(HEAT_MAP, CELLS, RESULTS, str(tmp_path / name))
    files = list((tmp_path / "a").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg"}
    for path in files:
        content = path.read_bytes()
        assert content == (tmp_path / "b" / path.name).read_bytes()
        assert len(content) < 80_000 and b"<dc:date>" not in content
    assert dict(matplotlib.rcParams) == before
    assert MISSING not in "".join(texts_of(tmp_path / "a" / "pairs.svg"))


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install matplotlib, or the extra `evaluate`"):
        plots.draw(HEAT_MAP, CELLS, RESULTS, str(tmp_path))
    assert not list(tmp_path.iterdir())
