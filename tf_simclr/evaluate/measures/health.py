"""Health of a representation, without labels: how it fills its space, and how well the contrastive task is solved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.evaluate.measures.arrays import as_features, finite_rows, row_blocks, unit_rows
from tf_simclr.losses.nt_xent import nt_xent

# Rows of a block: 1024 x 1024 similarities in float64 are 8 MiB, and their product is long enough to be fast.
_BLOCK_ROWS = 1024

# Rules of thumb, see `collapse_warning`.
LOWEST_STD_RATIO = 0.1
LOWEST_RANK_SHARE = 0.02
LOWEST_RANK = 2.0
MOST_ZERO_ROWS = 0.01


@dataclass(frozen=True)
class Health:
    """How a set of features fills its space.

    Attributes:
        examples: rows n.
        dimensions: d.
        zero_rows: share of examples whose features are all 0, in [0, 1].
        uniformity: see `uniformity`; in [-4 t, 0] with t = 2, lower is more uniform.
        std_ratio: root mean square over the dimensions of `feature_std`, divided by 1 / sqrt(d), in [0, 1]: 1 where
            the features are spread over the sphere around its centre, 0 where all are alike. Its square is 1 minus
            the mean cosine of all pairs. (The mean of the deviations would also be small for features that are
            spread, but in few dimensions, which is what `effective_rank` tells.)
        effective_rank: see `effective_rank`, of the centred features; in [0, min(n - 1, d)].
    """

    examples: int
    dimensions: int
    zero_rows: float
    uniformity: float
    std_ratio: float
    effective_rank: float


@dataclass(frozen=True)
class ContrastiveTask:
    """How well the contrastive task is solved: NT-Xent in nats, and what it shows about the task (SimCLR, Table 5).

    Attributes:
        loss: mean over all anchors; ln(candidates) at chance.
        accuracy: share of anchors whose positive is the most similar candidate, in [0, 1].
        entropy: mean entropy of the softmax over the candidates, in nats.
        candidates: what each anchor is compared with, 2 batch_size - 1.
    """

    loss: float
    accuracy: float
    entropy: float
    candidates: int


def alignment(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """Mean squared distance of the two views of an example on the unit sphere: E ||f(x) - f(x+)||^2, in [0, 4].

    Args:
        features_a: real numbers [n, d], of the first views; normalised here, and a row of zeros stays zeros.
        features_b: real numbers [n, d], of the second views of the same examples in the same order.

    Raises:
        InputError: shapes that do not match, features that are not finite.

    Reference: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, with alpha = 2.
    """
    a, b = _pairs("features", features_a, features_b)
    total = 0.0
    for rows in row_blocks(len(a), _BLOCK_ROWS):
        total += float(np.sum((unit_rows("features_a", a, rows) - unit_rows("features_b", b, rows)) ** 2))
    return total / len(a)


def uniformity(features: npt.ArrayLike, *, t: float = 2.0) -> float:
    """Log of the mean Gaussian potential of pairs on the unit sphere: log E exp(-t ||f(x) - f(y)||^2), in [-4 t, 0].

    The mean is over all pairs of two different examples, as in the authors' code; 0 where all features are alike.

    Args:
        features: real numbers [n, d], n >= 2; normalised here, and a row of zeros stays zeros.
        t: above 0, at most 100; the paper's is 2.

    Raises:
        InputError: fewer than 2 examples, features that are not finite, t out of range.

    Reference: Wang and Isola, ICML 2020, see `alignment`.
    """
    f = as_features("features", features, at_least=2)
    require_range("t", t, above=0, at_most=100)  # beyond, exp(-4 t) comes near the smallest float
    total = 0.0
    for rows in row_blocks(len(f), _BLOCK_ROWS):
        u = unit_rows("features", f, rows)  # [b, d]
        for columns in row_blocks(rows.start, _BLOCK_ROWS):  # every pair of blocks once
            total += float(_potentials(u, unit_rows("features", f, columns), t).sum())
        total += float(np.triu(_potentials(u, u, t), k=1).sum())
    return math.log(total / (len(f) * (len(f) - 1) / 2))


def _potentials(u: np.ndarray, v: np.ndarray, t: float) -> np.ndarray:
    """exp(-t ||u_i - v_j||^2) of unit or zero rows u [b, d] and v [c, d]: float64 [b, c]."""
    squares = np.sum(u**2, axis=1)[:, np.newaxis] + np.sum(v**2, axis=1) - 2 * u @ v.T
    return np.exp(-t * np.maximum(squares, 0))  # rounding may leave -1e-16


def feature_std(features: npt.ArrayLike) -> np.ndarray:
    """Standard deviation of every dimension of the normalised features, float64 [d], each in [0, 1].

    Spread over the sphere in all directions, every dimension has about 1 / sqrt(d); 0 in all of them is collapse.

    Args:
        features: real numbers [n, d], n >= 2; normalised here, and a row of zeros stays zeros.

    Raises:
        InputError: fewer than 2 examples, features that are not finite.

    Reference: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, Section 4.1.
    """
    f = as_features("features", features, at_least=2)
    # Two passes: in one, the difference of two nearly equal sums would hide a small deviation.
    mean = sum(unit_rows("features", f, rows).sum(axis=0) for rows in row_blocks(len(f), _BLOCK_ROWS)) / len(f)
    squares = [((unit_rows("features", f, rows) - mean) ** 2).sum(axis=0) for rows in row_blocks(len(f), _BLOCK_ROWS)]
    return np.sqrt(np.sum(squares, axis=0) / len(f))


def effective_rank(features: npt.ArrayLike, *, centre: bool = True) -> float:
    """How many directions the features use: exp of the entropy of the singular values, divided by their sum.

    k where k singular values are equal and the others 0; 0 where all are 0. Never more than min(n, d). Singular values
    that rounding alone explains count as 0. The matrix [d, d] is what is held, whatever the number of examples.

    Args:
        features: real numbers [n, d], as they are: not normalised.
        centre: subtract the mean first. Features after a ReLU are never negative, and without it their common mean is
            one large singular value that hides the others. False: the definition for the matrix itself.

    Raises:
        InputError: features that are not finite.

    Reference: Roy and Vetterli, The Effective Rank, EUSIPCO 2007.
    """
    f = as_features("features", features)
    mean = np.zeros(f.shape[1])
    if centre:
        mean = np.sum([finite_rows("features", f, r).sum(axis=0) for r in row_blocks(len(f), _BLOCK_ROWS)], 0) / len(f)
    triangle, squares = np.empty([0, f.shape[1]]), 0.0
    for rows in row_blocks(len(f), _BLOCK_ROWS):
        block = finite_rows("features", f, rows)
        squares += float(np.sum(block**2))
        # The triangle of the QR decomposition has the singular values of all rows so far, and not their squares, which
        # would lose half of the digits.
        triangle = np.linalg.qr(np.vstack([triangle, block - mean]), mode="r")
    values = np.linalg.svd(triangle, compute_uv=False)
    values = values[values > np.finfo(float).eps * max(f.shape) * math.sqrt(squares)]
    if not values.size:
        return 0.0
    p = values / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def contrastive_task(
    projections_a: npt.ArrayLike,
    projections_b: npt.ArrayLike,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
    batch_size: int | None = None,
) -> ContrastiveTask:
    """How well two views of one example find each other, by the loss of pretraining (tf_simclr.losses.nt_xent).

    All three figures depend on the number of candidates: compare only what was measured with one `batch_size`.

    Args:
        projections_a: real numbers [n, d], z of the first views.
        projections_b: real numbers [n, d], z of the second views of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections.
        batch_size: pairs that are compared with each other, n must be a multiple of it; that of pretraining gives
            figures like those of its curves. None: all n.

    Raises:
        InputError: shapes that do not match, projections that are not finite or so large that their similarities are
            not, a batch size that does not divide n.
    """
    a, b = _pairs("projections", projections_a, projections_b)
    batch_size = len(a) if batch_size is None else batch_size
    require_range("batch_size", batch_size, at_least=1, at_most=len(a))
    if len(a) % batch_size:
        raise InputError(
            f"`batch_size` must divide the number of pairs, {len(a)}, so that every anchor has as many candidates. "
            f"Received: batch_size={batch_size}. Pass the first {len(a) - len(a) % batch_size} pairs, or another size"
        )
    figures = []
    for rows in row_blocks(len(a), batch_size):
        z_a, z_b = finite_rows("projections_a", a, rows), finite_rows("projections_b", b, rows)
        figures.append(nt_xent(tf.constant(z_a), tf.constant(z_b), temperature=temperature, hidden_norm=hidden_norm))
    loss, accuracy, entropy = np.mean(np.array(figures, np.float64), axis=0)
    if not np.isfinite([loss, accuracy, entropy]).all():
        raise InputError(
            f"`projections` must have similarities that float32 holds. Received: loss {loss}, entropy {entropy}. Did "
            "pretraining diverge? Check its loss curve, or pass hidden_norm=True"
        )
    return ContrastiveTask(float(loss), float(accuracy), float(entropy), candidates=2 * batch_size - 1)


def representation_health(features: npt.ArrayLike) -> Health:
    """All that needs one view only, see `Health`.

    Args:
        features: real numbers [n, d], n >= 2. The pairs of `uniformity` take a time that grows with n squared: some
            thousands of examples are enough.

    Raises:
        InputError: fewer than 2 examples, features that are not finite.
    """
    f = as_features("features", features, at_least=2)
    zeros = sum(int(np.sum(~np.any(f[rows], axis=1))) for rows in row_blocks(len(f), _BLOCK_ROWS))
    return Health(
        examples=f.shape[0],
        dimensions=f.shape[1],
        zero_rows=zeros / len(f),
        uniformity=uniformity(f),
        std_ratio=float(np.linalg.norm(feature_std(f))),
        effective_rank=effective_rank(f),
    )


def collapse_warning(health: Health) -> str | None:
    """One line on what has collapsed and what it was evaluated by; None where nothing has.

    Figures that are not finite tell nothing, and are a line of their own.

    The thresholds are rules of thumb, in this order: more than 1% of the examples have features that are all 0;
    `std_ratio` is below 0.1 (all examples point in nearly the same direction, with a mean cosine above
    0.99); `effective_rank` is below 2, or below 2% of min(n - 1, d) (a few directions hold everything).

    Args:
        health: of features h or projections z. Of two examples or one dimension the rank, 1 at best, says nothing.
    """
    unknown = [name for name, value in vars(health).items() if not math.isfinite(value)]
    if unknown:
        return f"no figure of health: {', '.join(unknown)} not finite. Did pretraining diverge? Check its loss curve"
    if health.zero_rows > MOST_ZERO_ROWS:
        return (
            f"dead features: {health.zero_rows:.1%} of the examples have features that are all 0 (threshold "
            f"{MOST_ZERO_ROWS:.0%}). Lower the learning rate"
        )
    if health.std_ratio < LOWEST_STD_RATIO:
        return (
            f"collapse: all examples have nearly the same features. Their standard deviation is "
            f"{health.std_ratio:.3f} / sqrt({health.dimensions}), the threshold {LOWEST_STD_RATIO:g} / sqrt"
            f"({health.dimensions}). Train longer, or check temperature, learning rate and augmentations"
        )
    possible = min(health.examples - 1, health.dimensions)
    lowest = max(LOWEST_RANK, LOWEST_RANK_SHARE * possible)
    if possible > LOWEST_RANK and health.effective_rank < lowest:
        return (
            f"dimensional collapse: the features use {health.effective_rank:.1f} of {possible} possible directions "
            f"(effective rank, threshold {lowest:.1f}). Train longer, or use stronger augmentations or a nonlinear head"
        )
    return None


def _pairs(name: str, first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_features(f"{name}_a", first), as_features(f"{name}_b", second)
    if a.shape != b.shape:
        raise InputError(
            f"`{name}_a` and `{name}_b` must have the same shape, a row an example. Received: {a.shape} and {b.shape}. "
            "Take both from the same examples and one endpoint"
        )
    return a, b
