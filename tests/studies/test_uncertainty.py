"""Standard errors by hand, and findings whose gap is too small to say anything, on numbers made for them."""

from __future__ import annotations

import math

import pytest

from tf_simclr.studies import findings, tables
from tf_simclr.studies.comparison import FAILS, HOLDS, UNDECIDED, check_finding
from tf_simclr.studies.results import CellResult, Results
from tf_simclr.studies.uncertainty import Estimate, decided, mean_of, standard_error


def test_the_error_of_one_seed_is_that_of_its_images():
    assert standard_error([0.5], 2500) == pytest.approx(0.01)
    assert standard_error([0.2], 1600) == pytest.approx(0.01)
    assert standard_error([0.0], 100) == standard_error([1.0], 100) == standard_error([0.3], None) == 0


def test_seeds_add_their_own_and_do_not_make_the_images_more():
    # Variance over the seeds 0.0008, of two: 0.0004 for the mean.
    assert standard_error([0.48, 0.52], None) == pytest.approx(0.02)
    assert standard_error([0.48, 0.52], 2500) == pytest.approx(math.sqrt(0.0004 + 0.0001))
    assert standard_error([0.5] * 10, 2500) == pytest.approx(0.01)


def test_errors_of_differences_and_means():
    difference = Estimate(60.0, 3.0) - Estimate(50.0, 4.0)
    assert (difference.value, difference.error) == (10.0, 5.0)
    mean = mean_of([Estimate(1.0, 3.0), Estimate(3.0, 4.0)])
    assert (mean.value, mean.error) == (2.0, 2.5)
    assert f"{max(Estimate(1.0), Estimate(2.0)):.1f}" == "2.0" and abs(Estimate(-2.0, 1.0)) == Estimate(2.0, 1.0)


@pytest.mark.parametrize(
    ("gaps", "holds", "undecided"),
    [
        ([Estimate(2.1, 1.0)], True, False),
        ([Estimate(1.9, 1.0)], True, True),
        ([Estimate(-1.9, 1.0)], False, True),
        ([Estimate(-2.1, 1.0)], False, False),
        ([Estimate(0.1)], True, False),  # nothing is known of the error
        ([Estimate(0.0)], False, False),
        # Of several each must be sure; one that is surely below 0 is enough for the opposite.
        ([Estimate(9.0, 1.0), Estimate(1.0, 1.0)], True, True),
        ([Estimate(1.0, 1.0), Estimate(-9.0, 1.0)], False, False),
        ([Estimate(9.0, 1.0), Estimate(-1.0, 1.0)], False, True),
    ],
)
def test_two_standard_errors_decide(gaps, holds, undecided):
    found = decided("numbers", *gaps)
    assert (found.holds, found.undecided) == (holds, undecided)
    assert ("two standard errors" in found.numbers) is undecided


def test_the_gap_that_is_unsure_is_named():
    found = decided("a 1, b 2", Estimate(30.0, 1.0), Estimate(1.23, 1.0))
    assert found.numbers == "a 1, b 2; gap 1.2, two standard errors 2.0"


def test_equal_is_enough_where_that_is_said():
    assert decided("", or_equal=Estimate(0.0)).holds and not decided("", or_equal=Estimate(0.0)).undecided
    assert decided("", or_equal=Estimate(0.0, 1.0)).undecided
    assert not decided("", or_equal=Estimate(-0.1)).holds


def strengths(weak, full, test_images=2000, seeds=1, spread=0.0):
    """Results of Table 1 whose SimCLR cells go from `weak` to `full`."""
    cells = tables.table1("small")
    by_label = {"1/8": weak, "1": full}
    return cells, Results(
        [
            CellResult(cell.name, seed, {"top_1": by_label.get(cell.place["colour distortion"], weak) + sign * spread})
            for cell in cells
            for seed, sign in zip(range(seeds), (1, -1, 0), strict=False)
        ],
        test_images,
    )


@pytest.mark.parametrize(
    ("full", "options", "outcome"),
    [
        # One standard error of 50% of 2,000 images is 1.1 points, of a difference 1.6.
        (0.54, {}, HOLDS),
        (0.52, {}, UNDECIDED),
        (0.48, {}, UNDECIDED),
        (0.46, {}, FAILS),
        (0.52, {"test_images": 50_000}, HOLDS),
        (0.52, {"test_images": None}, HOLDS),
        (0.54, {"seeds": 2, "spread": 0.03}, UNDECIDED),
        (0.54, {"seeds": 2, "spread": 0.001}, HOLDS),
    ],
)
def test_a_finding_is_undecided_under_two_standard_errors(full, options, outcome):
    checked = check_finding(findings.simclr_gains_from_colour, *strengths(0.5, full, **options))
    assert checked.outcome == outcome, checked.numbers
    assert ("two standard errors" in checked.numbers) is (outcome == UNDECIDED)


@pytest.mark.parametrize(("ahead", "outcome"), [(0.06, HOLDS), (0.01, UNDECIDED), (-0.06, FAILS)])
def test_most_cells_solve_the_task_better_for_sure_or_not(ahead, outcome):
    cells = tables.figure5("small")

    def measures(cell):
        best = cell.name == "crop+color"
        return {"top_1": 0.6 if best else 0.3, "contrast_acc": 0.8 if best else 0.8 + ahead}

    def result(cell, seed):
        return CellResult(cell.name, seed, {k: v + (0.01 if seed else -0.01) for k, v in measures(cell).items()})

    results = Results([result(cell, seed) for cell in cells for seed in (0, 1)], 2000)
    assert check_finding(findings.contrastive_accuracy_is_no_guide, cells, results).outcome == outcome


def test_a_spread_is_held_against_its_limit():
    cells = tables.figure8("small")

    def spread(points):
        value = {cell.name: 0.5 + points / 100 * (cell.place["dimension"] == "2048") for cell in cells}
        return Results([CellResult(name, 0, {"top_1": top}) for name, top in value.items()], 2000)

    outcomes = [check_finding(findings.dimension_hardly_matters, cells, spread(p)).outcome for p in (-9, 0, 2, 9)]
    assert outcomes == [FAILS, UNDECIDED, UNDECIDED, FAILS]
