"""Means with their standard errors, and what a gap between two of them decides."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tf_simclr.studies.study import Evidence

# A gap of so many standard errors decides: one in twenty differences of two equal cells is larger.
ERRORS_THAT_DECIDE = 2.0


@functools.total_ordering
@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, compared by the number; errors of two are taken to be independent.

    Two cells are measured on the same test images, so that the error of their difference is, if anything, smaller.

    Attributes:
        value: in points.
        error: one standard error, in points; 0 where nothing is known of it.
    """

    value: float
    error: float = 0.0

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, math.hypot(self.error, other.error))

    def __rsub__(self, number: float) -> Estimate:
        return Estimate(number - self.value, self.error)

    def __lt__(self, other: Estimate) -> bool:
        return self.value < other.value

    def __abs__(self) -> Estimate:
        return Estimate(abs(self.value), self.error)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


def mean_of(estimates: Iterable[Estimate]) -> Estimate:
    """The mean of several; its error is that of independent ones."""
    found = list(estimates)
    value = sum(one.value for one in found) / len(found)
    return Estimate(value, math.hypot(*(one.error for one in found)) / len(found))


def standard_error(values: list[float], test_images: int | None) -> float:
    """The standard error of a mean accuracy over seeds.

    Args:
        values: an accuracy a seed, in [0, 1], at least one.
        test_images: how many each is a share of; None where nothing is known.

    Returns:
        the root of p (1 - p) / n, for other test images of the same kind, and of the variance over the seeds divided
        by their number, for other seeds. The images are the same for every seed: more seeds leave the first as it is.
    """
    mean, seeds = sum(values) / len(values), len(values)
    share = min(max(mean, 0.0), 1.0)
    of_images = share * (1 - share) / test_images if test_images else 0.0
    of_seeds = sum((value - mean) ** 2 for value in values) / (seeds - 1) / seeds if seeds > 1 else 0.0
    return math.sqrt(of_images + of_seeds)


def decided(numbers: str, *gaps: Estimate, or_equal: Estimate | None = None) -> Evidence:
    """What gaps say of a finding that holds where all of them are above 0.

    Args:
        numbers: that say so.
        gaps: each must be above 0.
        or_equal: one that may be 0 as well.

    Returns:
        holds: whether the means are so. undecided: whether neither all gaps are above 0 by two standard errors, nor one
        below it. The smallest gap, by its own errors, is added to the numbers where it is undecided.
    """
    everything = [*gaps, *([] if or_equal is None else [or_equal])]
    holds = all(gap.value > 0 for gap in gaps) and (or_equal is None or or_equal.value >= 0)
    margins = {id(gap): ERRORS_THAT_DECIDE * gap.error for gap in everything}
    if holds:
        unsure = [gap for gap in everything if gap.value < margins[id(gap)]]
    else:
        failing = [gap for gap in gaps if gap.value <= 0] + [gap for gap in everything if gap.value < 0]
        unsure = failing if all(-gap.value < margins[id(gap)] for gap in failing) else []
    if not unsure:
        return Evidence(holds, numbers)
    closest = min(unsure, key=lambda gap: abs(gap.value) / gap.error)
    return Evidence(holds, f"{numbers}; gap {closest:.1f}, two standard errors {margins[id(closest)]:.1f}", True)
