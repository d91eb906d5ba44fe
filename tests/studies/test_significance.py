"""Table 8 from answers that were made up: which figures are bold, and what the findings say."""

from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.evaluate.measures.metrics import accuracy, mean_average_precision, mean_per_class_accuracy
from tf_simclr.evaluate.measures.paired import compare_hits, compare_scores
from tf_simclr.evaluate.report.marks import Bold
from tf_simclr.studies import catalogue, document
from tf_simclr.studies.comparison import FAILS, HOLDS, NOT_MEASURED, UNDECIDED, check_finding
from tf_simclr.studies.result_tables import table8
from tf_simclr.studies.results import CellResult, Results, read_result, write_result
from tf_simclr.studies.significance import compared, transfer_tables
from tf_simclr.studies.transfer_sets import TransferSet

SETS = (
    TransferSet("cars", {}, known_as="cars196"),
    TransferSet("pets", {}, "mean_per_class"),
    TransferSet("voc", {}, "map_11_point", known_as="voc"),
)
CELLS = table8("small", SETS)
LABELS = np.random.default_rng(0).integers(0, 4, 150)
POSITIVES = np.random.default_rng(1).random((150, 4)) < 0.4
LINEAR, FINETUNED = "transfer_linear", "transfer_finetuned"


def answered(cell, share, seed=0):
    """A result of a cell that is right for about a share of the images, among them those of a smaller share."""
    rng = np.random.default_rng(seed)
    metric, measures = cell.options["metric"], (LINEAR, FINETUNED)[cell.options["start"] == "random" :]
    if metric == "map_11_point":
        scores = rng.normal(size=POSITIVES.shape) + 4 * share * POSITIVES
        ignored = np.zeros_like(POSITIVES)
        answers = {"scores": scores.tolist(), "positives": POSITIVES.tolist(), "ignored": ignored.tolist()}
        measures, figure = (LINEAR,), mean_average_precision(scores, POSITIVES)
    else:
        said = np.where(rng.random(150) < share, LABELS, (LABELS + 1) % 4)
        answers = {"classes": said.tolist(), "labels": LABELS.tolist()}
        figure = accuracy(said, LABELS) if metric == "top_1" else mean_per_class_accuracy(said, LABELS, 4)
    told = {measure: {**answers, "metric": metric} for measure in measures}
    return CellResult(cell.name, seed, dict.fromkeys(measures, figure), answers=told)


def results_of(shares, seeds=(0,)):
    """Results of starts, each with its share on all sets."""
    return Results(
        answered(cell, shares[cell.options["start"]], seed)
        for cell in CELLS
        if cell.options["start"] in shares
        for seed in seeds
    )


def test_a_comparison_is_that_of_the_answers(tmp_path):
    results = results_of({"SimCLR": 0.8, "supervised": 0.7}, seeds=(0, 1))
    hits = {}
    for start in ("SimCLR", "supervised"):
        own = [result.answers[LINEAR]["classes"] for result in results.of(f"{start} pets")]
        hits[start] = np.mean([np.array(said) == LABELS for said in own], axis=0)
    wanted = compare_hits(hits["SimCLR"], hits["supervised"], LABELS)
    assert compared(results, LINEAR, "SimCLR pets", "supervised pets") == wanted
    scores = [
        [np.array(result.answers[LINEAR]["scores"]) for result in results.of(f"{start} voc")]
        for start in ("SimCLR", "supervised")
    ]
    assert compared(results, LINEAR, "SimCLR voc", "supervised voc") == compare_scores(*scores, POSITIVES)
    assert compared(results, LINEAR, "SimCLR voc", "random voc") is None
    # What is kept in a file is the same.
    one = results.of("SimCLR voc")[0]
    write_result(str(tmp_path), one)
    assert read_result(str(tmp_path), "SimCLR voc", 0) == one


def test_what_is_not_significantly_worse_is_bold():
    results = results_of({"SimCLR": 0.8, "supervised": 0.78, "random": 0.4})
    linear, finetuned = transfer_tables(CELLS, results)
    assert "p > 0.05" in linear[0] and "Fine-tuned" in finetuned[0]
    assert linear[1][0] == ["start", "cars, top-1", "pets, mean per class", "voc, 11-point mAP"]
    assert [row[0] for row in linear[1][1:]] == ["SimCLR", "paper: SimCLR", "supervised"]
    assert [row[0] for row in finetuned[1][1:]] == [
        *("SimCLR", "paper: SimCLR", "supervised", "paper: supervised", "random"),
    ]
    by_start = {row[0]: row[1:] for row in finetuned[1][1:]}
    assert all(isinstance(text, Bold) for text in by_start["SimCLR"][:2] + by_start["supervised"][:2])
    assert not any(isinstance(text, Bold) for text in by_start["random"])
    assert by_start["SimCLR"][2] == "-" and by_start["paper: SimCLR"] == ["92.1", "-", "86.6"]
    figure = results.mean("random cars", FINETUNED)
    assert by_start["random"][0] == f"{100 * figure:.1f}"
    assert transfer_tables(CELLS, Results([])) == []


def test_bold_on_the_pages():
    rows = [["start", "cars"], ["a|b", Bold("76.9")], ["c", "<i>"]]
    environment = {"tables": [{"caption": "Linear", "rows": rows}]}
    content = {name: "" for name in ("title", "question", "paper_says", "agreement", "left_out", "command")}
    content |= {name: [] for name in ("images", "missing", "differences", "files")}
    content |= {"findings": None, "marks": {}, "cells": [["cell"]], "facts": [["setting"]], "cells_caption": "All"}
    html, markdown = (document.render(name, content | environment) for name in ("page.html", "page.md"))
    assert "<td><strong>76.9</strong></td>" in html and "<td>&lt;i&gt;</td>" in html
    assert r"| a\|b | **76.9** |" in markdown


@pytest.mark.parametrize(
    "shares,outcomes",
    [
        ({"SimCLR": 0.9, "supervised": 0.6, "random": 0.3}, [HOLDS, HOLDS]),
        ({"SimCLR": 0.5, "supervised": 0.9, "random": 0.8}, [FAILS, FAILS]),
        ({"SimCLR": 0.8, "supervised": 0.8, "random": 0.3}, [UNDECIDED, HOLDS]),
        ({"SimCLR": 0.8, "random": 0.3}, [NOT_MEASURED, HOLDS]),
    ],
)
def test_the_findings(shares, outcomes):
    results = results_of(shares)
    found = [check_finding(finding, CELLS, results) for finding in catalogue.STUDIES["table8"].findings]
    assert [one.outcome for one in found] == outcomes
    if outcomes[0] == HOLDS:
        assert "better than supervised on 2 data sets, worse on 0, tied on 0" in found[0].numbers
