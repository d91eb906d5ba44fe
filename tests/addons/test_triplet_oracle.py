"""TensorFlow Addons' semi-hard triplet loss as a second, independent opinion on ours.

Labels: the two views of an image are a class. Theirs is then a mean over the same 2N pairs of anchor and positive.
Squared distances of unit vectors are 2 - 2 u.v, so that theirs with twice the margin is twice ours, where both take the
same negative. Two rules differ: their negatives are those of both views, and where no negative is farther than the
positive they take the farthest of all, while we take none. What is farther than the margin counts 0 in both.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import value_and_gradient, views
from tf_simclr import compat
from tf_simclr.losses.margin_triplet import margin_triplet

pytestmark = pytest.mark.skipif(
    compat.KERAS_3, reason="TensorFlow Addons exist for TensorFlow 2.15 only (requirements-addons.txt)"
)


def ours(z, margin):
    return value_and_gradient(lambda a, b: margin_triplet(a, b, margin=margin, semi_hard=True), z)


def theirs(z, margin):
    """Half of their loss on the normalised views [2, n, d], for a margin of cosines, and its gradient."""
    n, z = z.shape[1], tf.constant(z)
    loss = compat.addons().losses.TripletSemiHardLoss(margin=2 * margin, distance_metric="squared-L2")
    with tf.GradientTape() as tape:
        tape.watch(z)
        half = loss(tf.tile(tf.range(n), [2]), tf.math.l2_normalize(tf.concat([z[0], z[1]], axis=0), axis=-1)) / 2
    return float(half), tape.gradient(half, z)


def marked(z, share=0.6):
    """Unit vectors with the view as one more direction, so that views of one augmentation are always the nearest.

    Above a share of one half, no negative of the anchor's own view is farther than its positive.
    """
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    mark = np.broadcast_to(np.array([1, -1]).reshape(2, 1, 1), [*z.shape[:2], 1])
    return np.concatenate([np.sqrt(1 - share) * z, np.sqrt(share) * mark], axis=-1).astype(np.float32)


def naive(z, margin, *, both_views, farthest_otherwise):
    """Semi-hard triplets one by one, with the two rules that differ."""
    z = np.concatenate(z).astype(np.float64)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    n, total = len(z) // 2, 0.0
    for i, anchor in enumerate(z):
        positive = anchor @ z[(i + n) % (2 * n)]
        others = [j for j in range(2 * n) if j % n != i % n and (both_views or (j < n) != (i < n))]
        farther = [s for s in z[others] @ anchor if s < positive]
        if farther:
            total += max(max(farther) - positive + margin, 0)
        elif farthest_otherwise:
            total += max(min(z[others] @ anchor) - positive + margin, 0)
    return total / (2 * n)


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("n", [6, 16])
def test_where_the_rules_agree(n, margin):
    z = marked(views(n))
    cosines = np.einsum("ad,bd->ab", *z)
    for rows in (cosines, cosines.T):
        assert np.all(rows.min(axis=1) < np.diag(rows)), "an anchor without a farther negative"
    out, gradient = ours(z, margin)
    value, their_gradient = theirs(z, margin)
    assert float(out.loss) == pytest.approx(value, rel=1e-5) and value > 0
    np.testing.assert_allclose(gradient, their_gradient, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_they_differ_it_is_by_these_two_rules(seed):
    z = views(5, d=3, seed=seed)
    value, _ = theirs(z, 0.3)
    assert value == pytest.approx(naive(z, 0.3, both_views=True, farthest_otherwise=True), rel=1e-4)
    assert float(ours(z, 0.3)[0].loss) == pytest.approx(
        naive(z, 0.3, both_views=False, farthest_otherwise=False), rel=1e-4
    )
    assert abs(value - float(ours(z, 0.3)[0].loss)) > 0.01
