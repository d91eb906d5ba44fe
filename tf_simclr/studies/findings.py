"""The paper's qualitative findings as checks on the results of a study."""

from __future__ import annotations

from collections.abc import Callable

from tf_simclr.studies.measured import Cells, along, best, labels, lead, listed, top_1, where
from tf_simclr.studies.results import Results
from tf_simclr.studies.study import Evidence, Finding
from tf_simclr.studies.uncertainty import ERRORS_THAT_DECIDE, Estimate, decided, mean_of

# What a check is made of: the cells of one scale, and what they found.
Check = Callable[[Cells, Results], Evidence]

# Points of top-1: single operators must stay behind the best pair by this much; a head's dimension must matter less.
SINGLE_OPERATOR_GAP, DIMENSION_SPREAD = 5.0, 3.0
# Axes of the tables.
STRENGTH, SIZE = "colour distortion", ("depth", "width")


def finding(statement: str) -> Callable[[Check], Finding]:
    """Makes a Finding of a check."""
    return lambda check: Finding(statement, check)


# ---- Figure 5 ----


def _singles_and_pairs(cells: Cells, results: Results) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    singles = [cell for cell in cells if cell.place["first"] == cell.place["second"]]
    pairs = [cell for cell in cells if cell not in singles]
    return top_1(results, singles), top_1(results, pairs)


@finding("Crop and colour distortion, in either order, is the best pair of operators.")
def crop_and_color_is_best(cells: Cells, results: Results) -> Evidence:
    """Figure 5, in one of its two orders."""
    _, pairs = _singles_and_pairs(cells, results)
    ranked = sorted(pairs, key=lambda name: pairs[name], reverse=True)
    ours = next(name for name in ranked if name in ("crop+color", "color+crop"))
    first = {name: pairs[name] for name in ranked[:4]}
    place = ranked.index(ours) + 1
    others = {name: value for name, value in pairs.items() if name not in ("crop+color", "color+crop")}
    return decided(
        f"the best pairs: {listed(first)}; crop and colour at place {place} of {len(ranked)}",
        or_equal=pairs[ours] - max(others.values()),
    )


@finding(f"No single operator comes within {SINGLE_OPERATOR_GAP:g} points of the best pair.")
def no_single_operator_suffices(cells: Cells, results: Results) -> Evidence:
    """Section 3.1."""
    singles, pairs = _singles_and_pairs(cells, results)
    single, pair = best(singles), best(pairs)
    gap = pairs[pair] - singles[single]
    numbers = f"best single {single} {singles[single]:.1f}, best pair {pair} {pairs[pair]:.1f}: {gap:.1f} points"
    return decided(numbers, gap - Estimate(SINGLE_OPERATOR_GAP))


@finding("The contrastive task is solved best by single operators that learn little: its accuracy is no guide.")
def contrastive_accuracy_is_no_guide(cells: Cells, results: Results) -> Evidence:
    """Section 3.1: the best pair makes the task harder than most operators that learn worse features."""
    singles, pairs = _singles_and_pairs(cells, results)
    everything = singles | pairs
    solved = top_1(results, cells, "contrast_acc")
    pair = best(pairs)
    gaps = [solved[name] - solved[pair] for name in everything if name != pair]
    # How many solve it better: at the least, by the means, and at the most.
    least, easier, most = (
        sum(gap.value + errors * ERRORS_THAT_DECIDE * gap.error > 0 for gap in gaps) for errors in (-1, 0, 1)
    )
    numbers = (
        f"contrastive accuracy of {pair}: {solved[pair]:.1f}; {easier} of the {len(gaps)} others solve the task better "
        "and learn worse"
    )
    holds = 2 * easier > len(gaps)
    undecided = (2 * least > len(gaps)) != (2 * most > len(gaps))
    if undecided:
        numbers += f" ({least} to {most} of them within two standard errors)"
    return Evidence(holds, numbers, undecided)


# ---- Table 1 ----


@finding("SimCLR gains from stronger colour distortion.")
def simclr_gains_from_colour(cells: Cells, results: Results) -> Evidence:
    """Table 1, first row, from the weakest to full strength."""
    found = along(results, where(cells, method="SimCLR"), STRENGTH)
    return decided(listed(found), found["1"] - found["1/8"])


@finding("Training with labels does not: it loses, or gains less than SimCLR.")
def supervised_does_not(cells: Cells, results: Results) -> Evidence:
    """Table 1, second row."""
    ours, supervised = (along(results, where(cells, method=method), STRENGTH) for method in ("SimCLR", "supervised"))
    gains = {"SimCLR": ours["1"] - ours["1/8"], "supervised": supervised["1"] - supervised["1/8"]}
    return decided(f"gain from 1/8 to 1: {listed(gains)}", gains["SimCLR"] - gains["supervised"])


@finding("AutoAugment, made for training with labels, is worse for SimCLR than colour distortion of full strength.")
def autoaugment_is_worse(cells: Cells, results: Results) -> Evidence:
    """Table 1."""
    found = along(results, where(cells, method="SimCLR"), STRENGTH)
    gap = found["1"] - found["AutoAugment"]
    return decided(f"AutoAugment {found['AutoAugment']:.1f}, 1 {found['1']:.1f}", gap)


# ---- Figure 6 ----


@finding("Histograms of crops give away their image, and colour distortion hides it.")
def colour_is_a_shortcut(cells: Cells, results: Results) -> Evidence:
    """Section 3.2."""
    found = top_1(results, cells, "same_picture")
    plain, distorted = found["crop"], found["crop and colour distortion"]
    return decided(f"own image nearest: {listed(found)}", plain - distorted)


# ---- Figure 7 ----


@finding("Deeper and wider networks learn better without labels.")
def larger_networks_are_better(cells: Cells, results: Results) -> Evidence:
    """Section 4.1: the largest network against the smallest."""
    found = along(results, where(cells, method="SimCLR"), *SIZE)
    smallest, *_, largest = found
    return decided(listed(found), found[largest] - found[smallest])


@finding("The gap to training with labels shrinks as networks grow.")
def the_gap_shrinks(cells: Cells, results: Results) -> Evidence:
    """Section 4.1: the largest network against the smallest."""
    ours, supervised = (along(results, where(cells, method=method), *SIZE) for method in ("SimCLR", "supervised"))
    gaps = {name: supervised[name] - ours[name] for name in ours}
    smallest, *_, largest = gaps
    return decided(f"gap: {listed(gaps)}", gaps[smallest] - gaps[largest])


# ---- Figure 8, head_curves ----


@finding("A nonlinear head is at least as good as a linear one, and both are better than none.")
def heads_in_order(cells: Cells, results: Results) -> Evidence:
    """Section 4.2, means over the dimensions of z."""
    found = {
        head: mean_of(top_1(results, where(cells, head=head)).values()) for head in ("nonlinear", "linear", "none")
    }
    return decided(listed(found), found["linear"] - found["none"], or_equal=found["nonlinear"] - found["linear"])


@finding("h, before the head, is a better representation than g(h).")
def h_is_better_than_g(cells: Cells, results: Results) -> Evidence:
    """Section 4.2, means over all nonlinear heads."""
    heads = where(cells, head="nonlinear")
    found = {
        "h": mean_of(top_1(results, heads).values()),
        "g(h)": mean_of(top_1(results, heads, "projection_top_1").values()),
    }
    return decided(listed(found), found["h"] - found["g(h)"])


@finding(f"The dimension of z hardly matters: nonlinear heads stay within {DIMENSION_SPREAD:g} points of each other.")
def dimension_hardly_matters(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    found = along(results, where(cells, head="nonlinear"), "dimension")
    spread = max(found.values()) - min(found.values())
    return decided(f"{listed(found)}: {spread:.1f} points", Estimate(DIMENSION_SPREAD) - spread)


@finding("Pretraining with the nonlinear head ends with the better h.")
def nonlinear_ends_better(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    found = top_1(results, cells)
    return decided(listed(found), or_equal=found["nonlinear head"] - found["linear head"])


# ---- Table 3 ----


@finding("h tells which transformation was applied better than g(h) does, for every transformation.")
def h_keeps_what_g_discards(cells: Cells, results: Results) -> Evidence:
    """Section 4.2."""
    h, z = (top_1(results, cells, measure) for measure in ("from_h", "from_projection"))
    numbers = "; ".join(f"{name}: h {h[name]:.1f}, g(h) {z[name]:.1f}" for name in h)
    return decided(numbers, *(h[name] - z[name] for name in h))


# ---- Table 4 ----


def _best_of_each_loss(cells: Cells, results: Results) -> dict[str, Estimate]:
    return {loss: max(top_1(results, where(cells, loss=loss)).values()) for loss in labels(cells, "loss")}


@finding("NT-Xent is the best of the losses.")
def nt_xent_is_best(cells: Cells, results: Results) -> Evidence:
    """Section 5.1, each loss with the best of its grid."""
    found = _best_of_each_loss(cells, results)
    return decided(listed(found), or_equal=lead(found, "NT-Xent"))


@finding("Semi-hard negatives help NT-Logistic and the margin loss.")
def semi_hard_helps(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    found = _best_of_each_loss(cells, results)
    gains = {name: found[f"{name} (sh)"] - found[name] for name in ("margin", "NT-Logistic")}
    return decided(f"gain: {listed(gains)}", *gains.values())


# ---- Table 5 ----


@finding("With l2 norm, a temperature of 0.1 or 0.5 is better than 1.")
def low_temperature_is_better(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    found = along(results, where(cells, l2_norm="yes"), "temperature")
    return decided(listed(found), max(found["0.1"], found["0.5"]) - found["1"])


@finding("With l2 norm, at a temperature of 0.1 or 0.5, it is better than without norm.")
def norm_is_better(cells: Cells, results: Results) -> Evidence:
    """Section 5.1."""
    norm, without = (along(results, where(cells, l2_norm=answer), "temperature") for answer in ("yes", "no"))
    numbers = f"with: {listed(norm)}; without: {listed(without)}"
    return decided(numbers, max(norm["0.1"], norm["0.5"]) - max(without.values()))


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
    return decided(numbers, solved[without] - solved[with_norm], found[with_norm] - found[without])


# ---- Figure 9 ----


def _by_batch(cells: Cells, results: Results, epochs: str) -> dict[str, Estimate]:
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
    small, large = mean_of(values[:half]), mean_of(values[-half:])
    return decided(f"{listed(found)}; smaller half {small:.1f}, larger half {large:.1f}", large - small)


@finding("With more epochs the gap between batch sizes closes.")
def the_batch_gap_closes(cells: Cells, results: Results) -> Evidence:
    """Section 5.2: the largest batch against the smallest, with the fewest and with the most epochs."""
    epochs = labels(cells, "epochs")
    gaps = {}
    for number in (epochs[0], epochs[-1]):
        values = list(_by_batch(cells, results, number).values())
        gaps[f"{number} epochs"] = values[-1] - values[0]
    few, many = gaps.values()
    return decided(f"largest batch minus smallest: {listed(gaps)}", few, abs(few) - abs(many))


@finding("With small batches and few epochs, square-root scaling is better than linear.")
def sqrt_scaling_helps(cells: Cells, results: Results) -> Evidence:
    """Appendix B.1: the smallest batch, the fewest epochs."""
    chosen = where(cells, epochs=labels(cells, "epochs")[0], batch=labels(cells, "batch")[0])
    found = along(results, chosen, "scaling")
    return decided(listed(found), found["sqrt scaling"] - found["linear scaling"])
