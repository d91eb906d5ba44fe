"""What the paper says of its results, its Tables 6 to 8, as checks."""

from __future__ import annotations

from tf_simclr.studies.findings import finding
from tf_simclr.studies.measured import Cells, along, listed, top_1, where
from tf_simclr.studies.results import NotMeasuredError, Results
from tf_simclr.studies.significance import compared, is_worse
from tf_simclr.studies.study import Evidence
from tf_simclr.studies.uncertainty import Estimate, decided

FINETUNED = "transfer_finetuned"

# ---- Table 6, Figure 1 ----


@finding("The wider the network, the better it learns without labels: 4x is better than 2x, and 2x than 1x.")
def wider_is_better(cells: Cells, results: Results) -> Evidence:
    """Table 6, top-1."""
    found = along(results, where(cells, method="SimCLR"), "width")
    return decided(listed(found), found["4x"] - found["2x"], found["2x"] - found["1x"])


@finding("Four times as wide, it reaches what the network of width 1x learns with labels.")
def labels_are_matched(cells: Cells, results: Results) -> Evidence:
    """Abstract and Figure 1, top-1."""
    found = along(results, cells, "method", "width")
    widest, supervised = found["SimCLR x4x"], found["supervised x1x"]
    return decided(f"SimCLR 4x {widest:.1f}, supervised 1x {supervised:.1f}", or_equal=widest - supervised)


# ---- Table 7 ----


def _by_amount(cells: Cells, results: Results) -> dict[str, dict[str, Estimate]]:
    """Top-1 with 1% and with 10% of the labels, by method and width; top-5, as in the paper, where that is all."""
    known = any(results.values(cell.name, "top_1_1pct") for cell in cells)
    metric = "top_1" if known else "top_5"
    return {
        f"{amount}%": {cell.name: found[cell.name] for cell in cells}
        for amount in (1, 10)
        for found in [top_1(results, cells, f"{metric}_{amount}pct")]
    }


@finding("With 1% and with 10% of the labels, fine-tuning is better than training on the same labels from scratch.")
def pretraining_helps(cells: Cells, results: Results) -> Evidence:
    """Table 7, networks of width 1x."""
    found = _by_amount(where(cells, width="1x"), results)
    numbers = "; ".join(f"{amount}: {listed(values)}" for amount, values in found.items())
    return decided(numbers, *(values["SimCLR 1x"] - values["supervised 1x"] for values in found.values()))


@finding("Pretraining gains more with 1% of the labels than with 10%.")
def few_labels_gain_most(cells: Cells, results: Results) -> Evidence:
    """Table 7, networks of width 1x."""
    found = _by_amount(where(cells, width="1x"), results)
    gains = {amount: values["SimCLR 1x"] - values["supervised 1x"] for amount, values in found.items()}
    return decided(f"gain: {listed(gains)}", gains["1%"] - gains["10%"])


@finding("A network that is four times as wide learns more from few labels.")
def wider_needs_fewer_labels(cells: Cells, results: Results) -> Evidence:
    """Table 7, 4x against 1x."""
    found = _by_amount(where(cells, method="SimCLR"), results)
    numbers = "; ".join(f"{amount}: {listed(values)}" for amount, values in found.items())
    return decided(numbers, *(values["SimCLR 4x"] - values["SimCLR 1x"] for values in found.values()))


# ---- Table 8 ----


def _counted(cells: Cells, results: Results, other: str) -> tuple[int, int, int]:
    """On how many data sets SimCLR, fine-tuned, is significantly better than another start, worse, and neither."""
    pairs = [
        (ours.name, theirs.name)
        for ours in where(cells, start="SimCLR")
        for theirs in where(cells, start=other, data_set=ours.place["data set"])
    ]
    known = [pair for pair in pairs if compared(results, FINETUNED, *pair) is not None]
    if not known:
        raise NotMeasuredError(f"a data set with cells of SimCLR and of {other}, fine-tuned")
    better = sum(is_worse(results, FINETUNED, theirs, ours) for ours, theirs in known)
    worse = sum(is_worse(results, FINETUNED, ours, theirs) for ours, theirs in known)
    return better, worse, len(known) - better - worse


def _evidence(cells: Cells, results: Results, other: str) -> Evidence:
    better, worse, tied = _counted(cells, results, other)
    numbers = f"significantly better than {other} on {better} data sets, worse on {worse}, tied on {tied}"
    return Evidence(better > worse, numbers, undecided=better == worse)


@finding(
    "Fine-tuned on other data sets, it is significantly better than pretraining with labels more often than worse."
)
def transfer_matches_labels(cells: Cells, results: Results) -> Evidence:
    """Section 6: better on 5 of the 12 data sets, worse on 2."""
    return _evidence(cells, results, "supervised")


@finding("Fine-tuned on other data sets, it is significantly better than random weights more often than worse.")
def transfer_beats_random(cells: Cells, results: Results) -> Evidence:
    """Table 8, the last row."""
    return _evidence(cells, results, "random")
