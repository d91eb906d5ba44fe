"""The l2 strengths of logistic regression (SimCLR, B.8): which there are, how each did, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tf_simclr.errors import InputError, require_range

# The paper's grid: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm.
L2_STRENGTHS: tuple[float, ...] = tuple(float(x) for x in np.logspace(-6, 5, 45))

# A path ends after so many strengths in a row that are worse. Neighbours of the paper's grid differ by a factor of 1.8:
# five of them span a factor of 18.
WORSE_IN_A_ROW = 5
# A fit of the path must only be good enough to choose by, and takes half the iterations.
PATH_TOLERANCE = 100.0


@dataclass(frozen=True)
class StrengthFit:
    """One fit on the training part.

    Attributes:
        l2: strength lambda.
        iterations: of L-BFGS; 0 where the fit before is within the tolerance for this strength, too.
        converged: whether L-BFGS reached its tolerance. False: the iterations ran out, or no step improved further.
        validation: the metric on the validation part.
        validation_loss: the mean cross entropy there, in nats.
    """

    l2: float
    iterations: int
    converged: bool
    validation: float
    validation_loss: float


def check_settings(strengths: Sequence[float], max_iterations: int, tolerance: float) -> None:
    """Raises InputError where strengths, from strong to weak, or limits of a fit are out of range."""
    if not strengths:
        raise InputError("`l2_strengths` must not be empty. Received: no value. The paper's are L2_STRENGTHS")
    require_range("l2_strengths", strengths[-1], above=0)
    require_range("max_iterations", max_iterations, at_least=1)
    require_range("tolerance", tolerance, above=0)


def follow_path(
    strengths: Sequence[float],
    fit: Callable[[float], StrengthFit],
    *,
    progress: Callable[[StrengthFit], None] | None,
) -> tuple[StrengthFit, ...]:
    """Fits one strength after the other, from strong to weak, until weaker ones have nothing more to give.

    Args:
        strengths: from strong to weak.
        fit: fits one strength, starting from the one before.
        progress: called with each fit when it is done.

    Returns:
        the fits that were tried, in order.

    Raises:
        InputError: the metric of a fit is not a finite number.
    """
    path: list[StrengthFit] = []
    for l2 in strengths:
        path.append(fit(l2))
        for value in (path[-1].validation, path[-1].validation_loss):
            if not np.isfinite(value):
                raise InputError(
                    f"`metric` must give a finite number. Received: {value} at l2={l2:.3g}. Choose another"
                )
        if progress is not None:
            progress(path[-1])
        if _only_gets_worse(path):
            break
    return tuple(path)


def _only_gets_worse(path: Sequence[StrengthFit]) -> bool:
    """Whether the last strengths all have a higher cross entropy than an earlier one, and none has a better metric.

    The cross entropy falls from strong to weak strengths until the fits begin to learn the training part by heart. The
    metric alone would not do: of a small validation part it stays the same, or falls for a while, long before.
    """
    before, last = path[:-WORSE_IN_A_ROW], path[-WORSE_IN_A_ROW:]
    if not before:
        return False
    losses_grew = min(done.validation_loss for done in last) > min(done.validation_loss for done in before)
    return losses_grew and max(done.validation for done in last) <= max(done.validation for done in before)


def best_of(path: Sequence[StrengthFit]) -> StrengthFit:
    """The fit with the highest validation figure; of equals the one with the lowest cross entropy, then the strongest.

    A validation part of some dozen examples gives the same accuracy for strengths that are factors of a hundred apart.
    """
    return max(path, key=lambda done: (done.validation, -done.validation_loss))
