"""The cells of every study can be configured, and the paper's numbers were copied without a slip."""

from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.cli.study_plan import shared_flags
from tf_simclr.config import SCALE_NAMES, STUDY_NAMES, ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.studies import tables
from tf_simclr.studies.catalogue import STUDIES, find_study
from tf_simclr.studies.comparison import HOLDS, check_finding
from tf_simclr.studies.plan import cell_config
from tf_simclr.studies.results import CellResult, Results, file_name
from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import MEASURES, Curves, Gallery, Lines, Scatter, Views
from tf_simclr.train.input import view_policy

EVERY = [(study, scale) for study in STUDIES.values() for scale in SCALES]
EVERY_ID = [f"{study.name}-{scale}" for study, scale in EVERY]


def test_the_flags_know_every_study_and_scale():
    assert tuple(STUDIES) == STUDY_NAMES
    assert tuple(SCALES) == SCALE_NAMES


def test_an_unknown_study_lists_the_known_ones():
    with pytest.raises(InputError, match=r"figure5, table1.*Received: study='figure3'"):
        find_study("figure3")


@pytest.mark.parametrize("study,scale", EVERY, ids=EVERY_ID)
def test_every_cell_is_a_config_of_its_own(study, scale):
    cells = study.cells(scale)
    flags = {"dataset": "shapes", **SCALES[scale].flags}
    assert len({cell.name for cell in cells}) == len(cells)
    assert len({file_name(cell.name, 0) for cell in cells}) == len(cells)
    assert len({tuple(sorted(cell.place.items())) for cell in cells}) == len(cells)
    configs = [cell_config(flags, cell, 0, "") for cell in cells]
    for config in configs:
        view_policy(config)  # raises where operators cannot be composed
    told_apart = [(cell.task, str(cell.flags), str(cell.options)) for cell in cells]
    assert len(set(told_apart)) == len(cells)


@pytest.mark.parametrize("study,scale", EVERY, ids=EVERY_ID)
def test_figures_name_what_is_there(study, scale):
    cells = study.cells(scale)
    assert set(study.measures) <= set(MEASURES)
    assert len({figure.name for figure in study.figures}) == len(study.figures)
    for figure in study.figures:
        if isinstance(figure, Gallery):
            continue
        if isinstance(figure, Views):
            if scale != "tiny":
                assert set(figure.cells) <= {cell.name for cell in cells}
            continue
        if isinstance(figure, Scatter):
            assert {figure.x, figure.y} <= set(MEASURES)
            assert all({figure.series, figure.point} <= set(cell.place) for cell in cells)
            continue
        axes = [getattr(figure, name, None) for name in ("rows", "columns", "groups", "series", "x", "panels")]
        for axis in filter(None, axes):
            assert all(axis in cell.place for cell in cells)
        if not isinstance(figure, Curves):
            assert figure.measure in MEASURES
        if isinstance(figure, Lines):
            assert all(float(cell.place[figure.x]) > 0 for cell in cells)


def test_figure_5_has_the_paper_s_row_averages():
    """The last column of the paper's figure, which was copied apart from the others."""
    cells = tables.figure5("paper")
    rows = {}
    for cell in cells:
        rows.setdefault(cell.place["first"], []).append(100 * cell.paper["top_1"])
    want = {"crop": 39.2, "cutout": 29.4, "color": 25.7, "sobel": 18.8, "noise": 15.5, "blur": 14.5, "rotate": 13.8}
    assert list(rows) == list(want)
    for name, values in rows.items():
        assert len(values) == 7
        assert np.mean(values) == pytest.approx(want[name], abs=0.06)


def paper_results(study, change=lambda value: value):
    cells = study.cells("paper")
    return Results(
        CellResult(cell.name, 0, {name: change(value) for name, value in cell.paper.items()}) for cell in cells
    )


@pytest.mark.parametrize("name", ["figure5", "table1", "table3", "table4", "table5", "table6", "table7"])
def test_the_findings_hold_on_the_paper_s_own_numbers(name):
    study = STUDIES[name]
    cells, results = study.cells("paper"), paper_results(study)
    outcomes = {finding.statement: check_finding(finding, cells, results) for finding in study.findings}
    # The paper's figure has no contrastive accuracies, and its table no network with labels.
    measured = [checked for checked in outcomes.values() if "which was not run" not in checked.numbers]
    assert len(measured) >= len(outcomes) - (name in ("figure5", "table6"))
    assert all(checked.outcome == HOLDS for checked in measured), outcomes


@pytest.mark.parametrize("name", ["figure5", "table1", "table3", "table4", "table5", "table6", "table7"])
def test_none_of_them_holds_upside_down(name):
    study = STUDIES[name]
    cells, results = study.cells("paper"), paper_results(study, lambda value: 1 - value)
    for finding in study.findings:
        assert check_finding(finding, cells, results).outcome != HOLDS, finding.statement


def test_scalings_agree_at_the_scale_s_own_batch():
    for scale in SCALES:
        cells = [c for c in tables.figure9(scale) if c.place["batch"] == str(SCALES[scale].flags["train_batch_size"])]
        flags = {"dataset": "shapes", **SCALES[scale].flags}
        rates = {
            config.optimizer.peak_learning_rate(config.data.train_batch_size)
            for config in (cell_config(flags, cell, 0, "") for cell in cells)
        }
        assert len(cells) >= 4
        assert max(rates) == pytest.approx(min(rates))


def test_what_a_study_varies_cannot_be_given():
    study = STUDIES["table5"]
    with pytest.raises(InputError, match=r"`temperature` is what this study varies.*temperature=0\.3.*--cells"):
        shared_flags({}, {"temperature": 0.3}, study.varied("small"))
    # Training with labels has a rate of its own: one that was given could not hold for every cell.
    with pytest.raises(InputError, match="`learning_rate` is what this study varies"):
        shared_flags({}, {"learning_rate": 0.3}, STUDIES["table1"].varied("small"))
    given = {"train_steps": 7, "cpu_devices": 2}
    assert shared_flags({"train_steps": 1, "image_size": 8}, given, study.varied("small")) == {
        "train_steps": 7,
        "image_size": 8,
    }


def test_a_study_s_own_flags_stand_between_the_scale_s_and_the_given_ones():
    study = STUDIES["table6"]
    assert study.shared("paper")["train_epochs"] == 1000 and STUDIES["table5"].shared("paper")["train_epochs"] == 100
    assert study.shared("small") == SCALES["small"].flags
    given = shared_flags(study.shared("paper"), {"image_size": 96}, study.varied("paper"))
    assert (given["train_epochs"], given["image_size"]) == (1000, 96)


def test_the_paper_s_scale_is_the_paper_s():
    config = cell_config({"dataset": "imagenet2012", **SCALES["paper"].flags}, tables.table5("paper")[1], 0, "")
    assert config.optimizer.peak_learning_rate(config.data.train_batch_size) == pytest.approx(4.8)
    default = ExperimentConfig()
    for part in ("weight_decay", "momentum", "optimizer"):
        assert getattr(config.optimizer, part) == getattr(default.optimizer, part)
