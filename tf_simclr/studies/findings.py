"""The paper's qualitative findings as checks on the results of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from tf_simclr.studies.results import MissingCellsError, NotFiniteError, Results
from tf_simclr.studies.study import Evidence, Finding, StudyCell

Cells = tuple[StudyCell, ...]
# What a check is made of: the cells of the scale at hand, and what they found.
Check = Callable[[Cells, Results], Evidence]

# Points of top-1: single operators must stay behind the best pair by this much; a head's dimension must matter less.
SINGLE_OPERATOR_GAP, DIMENSION_SPREAD = 5.0, 3.0


def finding(statement: str) -> Callable[[Check], Finding]:
    """Makes a Finding of a check."""
    return lambda check: Finding(statement, check)


def top_1(results: Results, cells: Iterable[StudyCell], measure: str = "top_1") -> dict[str, float]:
    """Means in percent, by cell.

    Raises:
        MissingCellsError: one of the cells is missing, or there is none.
        NotFiniteError: a mean is NaN or infinite: every comparison with it would be False, or depend on the order.
    """
    found = {cell.name: 100.0 * results.mean(cell.name, measure) for cell in cells}
    for name, value in found.items():
        if not math.isfinite(value):
            raise NotFiniteError(f"{measure} of {name} is {value / 100.0}")
    if not found:
        raise MissingCellsError("no such cell")
    return found


def where(cells: Cells, **place: str) -> Cells:
    """The cells at a place: axis (with _ for a space) -> label."""
    wanted = {axis.replace("_", " "): label for axis, label in place.items()}
    return tuple(cell for cell in cells if all(cell.place.get(axis) == label for axis, label in wanted.items()))


def labels(cells: Cells, axis: str) -> list[str]:
    """The labels of an axis, in the order of the cells."""
    return list(dict.fromkeys(cell.place[axis] for cell in cells if axis in cell.place))


def best(values: Mapping[str, float]) -> str:
    """The name of the largest value."""
    return max(values, key=lambda name: values[name])


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


# ---- Figure 5 ----


def _singles_and_pairs(cells: Cells, results: Results) -> tuple[dict[str, float], dict[str, float]]:
    singles = [cell for cell in cells if cell.place["first"] == cell.place["second"]]
    pairs = [cell for cell in cells if cell not in singles]
    return top_1(results, singles), top_1(results, pairs)


@finding("Crop and colour distortion, in either order, is the best pair of operators.")
def crop_and_color_is_best(cells: Cells, results: Results) -> Evidence:
    """Figure 5, in one of its two orders."""
    _, pairs = _singles_and_pairs(cells, results)
    ranked = sorted(pairs, key=lambda name: -pairs[name])
    ours = min(ranked.index("crop+color"), ranked.index("color+crop"))
    first = {name: pairs[name] for name in ranked[:4]}
    return Evidence(
        ours == 0, f"the best pairs: {_listed(first)}; crop and colour at place {ours + 1} of {len(ranked)}"
    )


@finding(f"No single operator comes within {SINGLE_OPERATOR_GAP:g} points of the best pair.")
def no_single_operator_suffices(cells: Cells, results: Results) -> Evidence:
    """Section 3.1."""
    singles, pairs = _singles_and_pairs(cells, results)
    single, pair = best(singles), best(pairs)
    gap = pairs[pair] - singles[single]
    numbers = f"best single {single} {singles[single]:.1f}, best pair {pair} {pairs[pair]:.1f}: {gap:.1f} points"
    return Evidence(gap > SINGLE_OPERATOR_GAP, numbers)


@finding("The contrastive task is solved best by single operators that learn little: its accuracy is no guide.")
def contrastive_accuracy_is_no_guide(cells: Cells, results: Results) -> Evidence:
    """Section 3.1: the best pair makes the task harder than most operators that learn worse features."""
    singles, pairs = _singles_and_pairs(cells, results)
    everything = singles | pairs
    solved = top_1(results, cells, "contrast_acc")
    pair = best(pairs)
    easier = [name for name in everything if name != pair and solved[name] > solved[pair]]
    numbers = (
        f"contrastive accuracy of {pair}: {solved[pair]:.1f}; {len(easier)} of the {len(everything) - 1} others solve "
        "the task better and learn worse"
    )
    return Evidence(2 * len(easier) > len(everything) - 1, numbers)


# ---- Table 1 ----


@finding("SimCLR gains from stronger colour distortion.")
def simclr_gains_from_colour(cells: Cells, results: Results) -> Evidence:
    """Table 1, first row, from the weakest to full strength."""
    found = _by_strength(cells, results, "SimCLR")
    return Evidence(found["1"] > found["1/8"], _listed(found))


@finding("Training with labels does not: it loses, or gains less than SimCLR.")
def supervised_does_not(cells: Cells, results: Results) -> Evidence:
    """Table 1, second row."""
    ours, supervised = (_by_strength(cells, results, method) for method in ("SimCLR", "supervised"))
    gains = {"SimCLR": ours["1"] - ours["1/8"], "supervised": supervised["1"] - supervised["1/8"]}
    return Evidence(gains["supervised"] < gains["SimCLR"], f"gain from 1/8 to 1: {_listed(gains)}")


@finding("AutoAugment, made for training with labels, is worse for SimCLR than colour distortion of full strength.")
def autoaugment_is_worse(cells: Cells, results: Results) -> Evidence:
    """Table 1."""
    found = _by_strength(cells, results, "SimCLR")
    return Evidence(found["AutoAugment"] < found["1"], f"AutoAugment {found['AutoAugment']:.1f}, 1 {found['1']:.1f}")


def _by_strength(cells: Cells, results: Results, method: str) -> dict[str, float]:
    chosen = where(cells, method=method)
    found = top_1(results, chosen)
    return {cell.place["colour distortion"]: found[cell.name] for cell in chosen}


# ---- Figure 6 ----


@finding("Histograms of crops give away their image, and colour distortion hides it.")
def colour_is_a_shortcut(cells: Cells, results: Results) -> Evidence:
    """Section 3.2."""
    found = top_1(results, cells, "same_picture")
    plain, distorted = found["crop"], found["crop and colour distortion"]
    return Evidence(plain > distorted, f"own image nearest: {_listed(found)}")


# ---- Figure 7 ----


def _sizes(cells: Cells, results: Results, method: str) -> dict[str, float]:
    chosen = where(cells, method=method)
    found = top_1(results, chosen)
    return {f"{cell.place['depth']} x{cell.place['width']}": found[cell.name] for cell in chosen}


@finding("Deeper and wider networks learn better without labels.")
def larger_networks_are_better(cells: Cells, results: Results) -> Evidence:
    """Section 4.1: the largest network against the smallest."""
    found = _sizes(cells, results, "SimCLR")
    smallest, *_, largest = found
    return Evidence(found[largest] > found[smallest], _listed(found))


@finding("The gap to training with labels shrinks as networks grow.")
def the_gap_shrinks(cells: Cells, results: Results) -> Evidence:
    """Section 4.1: the largest network against the smallest."""
    ours, supervised = (_sizes(cells, results, method) for method in ("SimCLR", "supervised"))
    gaps = {name: supervised[name] - ours[name] for name in ours}
    smallest, *_, largest = gaps
    return Evidence(gaps[largest] < gaps[smallest], f"gap: {_listed(gaps)}")


# ---- Figure 8, head_curves ----


@finding("A nonlinear head is at least as good as a linear one, and both are better than none.")
def heads_in_order(cells: Cells, results: Results) -> Evidence:
    """Section 4.2, means over the dimensions of z."""
    found = {head: _mean(top_1(results, where(cells, head=head))) for head in ("nonlinear", "linear", "none")}
    return Evidence(found["nonlinear"] >= found["linear"] > found["none"], _listed(found))


@finding("h, before the head, is a better representation than g(h).")
def h_is_better_than_g(cells: Cells, results: Results) -> Evidence:
    """Section 4.2, means over all nonlinear heads."""
    heads = where(cells, head="nonlinear")
    found = {
        "h": _mean(top_1(results, heads)),
        "g(h)": _mean(top_1(results, heads, "projection_top_1")),
    }
    return Evidence(found["h"] > found["g(h)"], _listed(found))


@finding(f"The dimension of z hardly matters: nonlinear heads stay within {DIMENSION_SPREAD:g} points of each other.")
def dimension_hardly_matters(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    heads = where(cells, head="nonlinear")
    found = top_1(results, heads)
    spread = max(found.values()) - min(found.values())
    shown = {cell.place["dimension"]: found[cell.name] for cell in heads}
    return Evidence(spread < DIMENSION_SPREAD, f"{_listed(shown)}: {spread:.1f} points")


@finding("Pretraining with the nonlinear head ends with the better h.")
def nonlinear_ends_better(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    found = top_1(results, cells)
    return Evidence(found["nonlinear head"] >= found["linear head"], _listed(found))


# ---- Table 3 ----


@finding("h tells which transformation was applied better than g(h) does, for every transformation.")
def h_keeps_what_g_discards(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    h, z = (top_1(results, cells, measure) for measure in ("from_h", "from_projection"))
    numbers = "; ".join(f"{name}: h {h[name]:.1f}, g(h) {z[name]:.1f}" for name in h)
    return Evidence(all(h[name] > z[name] for name in h), numbers)


# ---- Table 4 ----


def _best_of_each_loss(cells: Cells, results: Results) -> dict[str, float]:
    return {loss: max(top_1(results, where(cells, loss=loss)).values()) for loss in labels(cells, "loss")}


@finding("NT-Xent is the best of the losses.")
def nt_xent_is_best(cells: Cells, results: Results) -> Evidence:
    """Section 5.1, each loss with the best of its grid."""
    found = _best_of_each_loss(cells, results)
    return Evidence(best(found) == "NT-Xent", _listed(found))


@finding("Semi-hard negatives help NT-Logistic and the margin loss.")
def semi_hard_helps(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    found = _best_of_each_loss(cells, results)
    gains = {name: found[f"{name} (sh)"] - found[name] for name in ("margin", "NT-Logistic")}
    return Evidence(all(gain > 0 for gain in gains.values()), f"gain: {_listed(gains)}")


# ---- Table 5 ----


@finding("With l2 norm, a temperature of 0.1 or 0.5 is better than 1.")
def low_temperature_is_better(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    found = _by_temperature(cells, results, "yes")
    return Evidence(max(found["0.1"], found["0.5"]) > found["1"], _listed(found))


@finding("With l2 norm, at a temperature of 0.1 or 0.5, it is better than without norm.")
def norm_is_better(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    norm, without = (_by_temperature(cells, results, answer) for answer in ("yes", "no"))
    numbers = f"with: {_listed(norm)}; without: {_listed(without)}"
    return Evidence(max(norm["0.1"], norm["0.5"]) > max(without.values()), numbers)


@finding("Without norm the contrastive accuracy is higher than with it, but the representation is worse.")
def accuracy_without_norm_misleads(cells: Cells, results: Results) -> Evidence:
    """Section 5.1: against the best temperature with norm."""
    names = {cell.name: cell.place["l2 norm"] for cell in cells}
    found, solved = top_1(results, cells), top_1(results, cells, "contrast_acc")
    with_norm = best({name: found[name] for name, norm in names.items() if norm == "yes"})
    without = best({name: found[name] for name, norm in names.items() if norm == "no"})
    numbers = "; ".join(
        f"{name}: contrastive accuracy {solved[name]:.1f}, top-1 {found[name]:.1f}" for name in (with_norm, without)
    )
    return Evidence(solved[without] > solved[with_norm] and found[without] < found[with_norm], numbers)


def _by_temperature(cells: Cells, results: Results, norm: str) -> dict[str, float]:
    chosen = where(cells, l2_norm=norm)
    found = top_1(results, chosen)
    return {cell.place["temperature"]: found[cell.name] for cell in chosen}


# ---- Figure 9 ----


def _by_batch(cells: Cells, results: Results, epochs: str) -> dict[str, float]:
    """The better scaling of each batch."""
    return {
        batch: max(top_1(results, where(cells, epochs=epochs, batch=batch)).values())
        for batch in labels(cells, "batch")
    }


@finding("With few epochs larger batches are better.")
def larger_batches_are_better(cells: Cells, results: Results) -> Evidence:
    """Section 5.2: the larger half of the batches against the smaller, with the fewest epochs."""
    found = _by_batch(cells, results, labels(cells, "epochs")[0])
    values, half = list(found.values()), len(found) // 2
    small, large = sum(values[:half]) / half, sum(values[-half:]) / half
    return Evidence(large > small, f"{_listed(found)}; smaller half {small:.1f}, larger half {large:.1f}")


@finding("With more epochs the gap between batch sizes closes.")
def the_batch_gap_closes(cells: Cells, results: Results) -> Evidence:
    """Section 5.2: the largest batch against the smallest, with the fewest and with the most epochs."""
    epochs = labels(cells, "epochs")
    gaps = {}
    for number in (epochs[0], epochs[-1]):
        values = list(_by_batch(cells, results, number).values())
        gaps[f"{number} epochs"] = values[-1] - values[0]
    few, many = gaps.values()
    return Evidence(few > 0 and abs(many) < abs(few), f"largest batch minus smallest: {_listed(gaps)}")


@finding("With small batches and few epochs, square-root scaling is better than linear.")
def sqrt_scaling_helps(cells: Cells, results: Results) -> Evidence:
    """Appendix B.1: the smallest batch, the fewest epochs."""
    chosen = where(cells, epochs=labels(cells, "epochs")[0], batch=labels(cells, "batch")[0])
    found = {cell.place["scaling"]: value for cell, value in zip(chosen, top_1(results, chosen).values(), strict=True)}
    return Evidence(found["sqrt scaling"] > found["linear scaling"], _listed(found))
