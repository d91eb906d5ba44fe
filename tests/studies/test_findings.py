"""Findings whose paper has no numbers, on numbers made for them."""

from __future__ import annotations

import pytest

from tf_simclr.studies import catalogue, findings, result_findings, result_tables, tables
from tf_simclr.studies.comparison import NOT_MEASURED, best_cells, check_finding
from tf_simclr.studies.results import CellResult, NotMeasuredError, Results
from tf_simclr.studies.study import StudyCell


def results_of(cells, value, measure="top_1"):
    """One result a cell, of value(cell) percent."""
    return Results(CellResult(cell.name, 0, {measure: value(cell) / 100}) for cell in cells)


def holds(finding, cells, results):
    return finding.check(cells, results).holds


def test_figure_7():
    cells = tables.figure7("small")

    def growing(gap):
        def value(cell):
            size = int(cell.place["depth"].removeprefix("ResNet-")) * float(cell.place["width"])
            return size + (gap - size / 2 if cell.place["method"] == "supervised" else 0)

        return results_of(cells, value)

    assert holds(findings.larger_networks_are_better, cells, growing(40))
    assert holds(findings.the_gap_shrinks, cells, growing(40))
    level = results_of(cells, lambda cell: 50)
    assert not holds(findings.larger_networks_are_better, cells, level)
    assert not holds(findings.the_gap_shrinks, cells, level)


@pytest.mark.parametrize(
    "order,wanted", [((1, 2, 3), True), ((1, 3, 2), False), ((3, 1, 2), False), ((2, 2, 2), False)]
)
def test_figure_8_order(order, wanted):
    cells = tables.figure8("small")
    value = dict(zip(("none", "linear", "nonlinear"), order, strict=True))
    found = findings.heads_in_order.check(cells, results_of(cells, lambda cell: 10 * value[cell.place["head"]]))
    assert found.holds is wanted
    assert f"nonlinear {10 * value['nonlinear']:.1f}" in found.numbers


def test_figure_8_h_and_dimension():
    cells = tables.figure8("small")

    def both(h, g):
        return Results(CellResult(c.name, 0, {"top_1": h(c), "projection_top_1": g(c)}) for c in cells)

    assert holds(findings.h_is_better_than_g, cells, both(lambda c: 0.5, lambda c: 0.4))
    assert not holds(findings.h_is_better_than_g, cells, both(lambda c: 0.4, lambda c: 0.5))

    def by_dimension(slope):
        return results_of(cells, lambda cell: 50 + slope * float(cell.place["dimension"]) / 2048)

    assert holds(findings.dimension_hardly_matters, cells, by_dimension(2.9))
    assert not holds(findings.dimension_hardly_matters, cells, by_dimension(3.2))


def test_figure_9():
    cells = tables.figure9("small")

    def closing(speed, sqrt=1.0):
        def value(cell):
            epochs, batch = float(cell.place["epochs"]), int(cell.place["batch"])
            return 50 + speed * batch / 512 / epochs + sqrt * (cell.place["scaling"] == "sqrt scaling")

        return results_of(cells, value)

    for finding in (findings.larger_batches_are_better, findings.the_batch_gap_closes, findings.sqrt_scaling_helps):
        assert holds(finding, cells, closing(30))
        assert not holds(finding, cells, closing(-30, sqrt=-1.0))


def test_table_6():
    cells = result_tables.table6("small")

    def found(ours, supervised):
        values = [*ours, supervised]
        return results_of(cells, lambda cell: values[cells.index(cell)])

    assert holds(result_findings.wider_is_better, cells, found((40, 50, 60), 55))
    assert not holds(result_findings.wider_is_better, cells, found((40, 60, 59), 55))
    assert holds(result_findings.labels_are_matched, cells, found((40, 50, 55), 55))
    assert not holds(result_findings.labels_are_matched, cells, found((40, 50, 54), 55))


def test_table_7():
    cells = result_tables.table7("small")

    def found(one_percent, ten_percent):
        """Top-1 of 1x, 2x, 4x and the network from scratch; top-5 says the opposite of everything."""
        return Results(
            CellResult(
                cell.name,
                0,
                {
                    **{"top_1_1pct": few / 100, "top_1_10pct": more / 100},
                    **{"top_5_1pct": 1 - few / 100, "top_5_10pct": 1 - more / 100},
                },
            )
            for cell, few, more in zip(cells, one_percent, ten_percent, strict=True)
        )

    good = found((50, 55, 60, 20), (80, 82, 84, 70))
    for finding in (
        result_findings.pretraining_helps,
        result_findings.few_labels_gain_most,
        result_findings.wider_needs_fewer_labels,
    ):
        assert holds(finding, cells, good)
    assert not holds(result_findings.pretraining_helps, cells, found((50, 55, 60, 20), (80, 82, 84, 81)))
    assert not holds(result_findings.few_labels_gain_most, cells, found((50, 55, 60, 40), (80, 82, 84, 60)))
    assert not holds(result_findings.wider_needs_fewer_labels, cells, found((50, 55, 60, 20), (80, 82, 79, 70)))


def test_figure_6_and_heads():
    cells = tables.figure6("small")
    assert holds(findings.colour_is_a_shortcut, cells, results_of(cells, lambda c: 100 - len(c.name), "same_picture"))
    assert not holds(findings.colour_is_a_shortcut, cells, results_of(cells, lambda c: 50, "same_picture"))
    heads = tables.head_curves("small")
    assert holds(findings.nonlinear_ends_better, heads, results_of(heads, lambda c: len(c.name)))
    assert not holds(findings.nonlinear_ends_better, heads, results_of(heads, lambda c: -len(c.name)))


def test_figure_5_contrastive_accuracy():
    cells = tables.figure5("small")

    def solved(of_best):
        def measures(cell):
            best = cell.name == "crop+color"
            return {"top_1": 0.6 if best else 0.3, "contrast_acc": of_best if best else 0.8}

        return Results(CellResult(cell.name, 0, measures(cell)) for cell in cells)

    assert holds(findings.contrastive_accuracy_is_no_guide, cells, solved(0.5))
    assert not holds(findings.contrastive_accuracy_is_no_guide, cells, solved(0.9))


def test_missing_cells_are_told():
    cells = tables.table4("small")
    some = Results(CellResult(cell.name, 0, {"top_1": 0.5}) for cell in cells[:-1])
    with pytest.raises(NotMeasuredError, match="NT-Xent"):
        findings.nt_xent_is_best.check(cells, some)


# ---- Numbers that are none ----

NOT_FINITE = pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])


@NOT_FINITE
@pytest.mark.parametrize("name", ["figure5", "table1", "figure7", "figure8", "head_curves", "table5", "figure9"])
def test_a_cell_that_diverged_decides_no_finding(name, bad):
    """Of a mean that is NaN every comparison is False, and the largest of several depends on their order."""
    study = catalogue.STUDIES[name]
    cells = study.cells("small")
    measures = ("top_1", "projection_top_1", "contrast_acc", "knn_top_1")
    for spoilt in (cells[0], cells[-1]):
        results = Results(
            CellResult(cell.name, 0, {m: bad if cell == spoilt else 0.1 + number / 100 for m in measures})
            for number, cell in enumerate(cells)
        )
        checked = [check_finding(finding, cells, results) for finding in study.findings]
        about_it = [one for one in checked if spoilt.name in one.numbers]
        assert all(one.outcome == NOT_MEASURED for one in checked if str(bad) in one.numbers)
        assert any("needs finite numbers" in one.numbers for one in about_it)


@NOT_FINITE
def test_the_best_of_a_grid_is_a_number(bad):
    cells = [StudyCell(name, {"loss": "a"}) for name in ("first", "second", "third")]
    values = {"first": bad, "second": 0.3, "third": 0.2}
    results = Results(CellResult(name, 0, {"top_1": value}) for name, value in values.items())
    assert [cell.name for cell in best_cells("loss", "top_1", cells, results)] == ["second"]
