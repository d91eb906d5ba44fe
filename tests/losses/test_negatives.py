"""What holds for both losses that take one negative at a time, and which negatives these are."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import on_replicas, semi_hard, value_and_gradient, views
from tf_simclr.errors import InputError
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.negatives import negative_weights
from tf_simclr.losses.nt_logistic import nt_logistic
from tf_simclr.losses.nt_xent import nt_xent

LOSSES = [
    pytest.param(functools.partial(loss, semi_hard=mined, margin=0.5), id=f"{loss.__name__}{'-semi-hard' * mined}")
    for loss in (nt_logistic, margin_triplet)
    for mined in (False, True)
]
EACH_LOSS = pytest.mark.parametrize("loss", LOSSES)


def labels_of(n):
    """Every anchor of 2n and its positive, int32 [2n, 2]."""
    own = np.arange(2 * n)
    return np.stack([own, (own + n) % (2 * n)], axis=1).astype(np.int32)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_unmined_negatives_are_the_other_images_in_the_other_view(n):
    weights = negative_weights(tf.zeros([2 * n, 2 * n]), labels_of(n), within=None).numpy()
    for i in range(2 * n):
        for j in range(2 * n):
            is_negative = (i < n) != (j < n) and i % n != j % n
            assert weights[i, j] == pytest.approx(1 / (n - 1) if is_negative else 0)


@pytest.mark.parametrize("within", [0.25, 0.5, 0.75, 3.0])
def test_mining_picks_what_a_loop_picks(within):
    """Similarities on a coarse grid: ties, negatives at the positive and at the margin, anchors without any."""
    n = 9
    similarities = np.random.default_rng(1).integers(-4, 5, [2 * n, 2 * n]).astype(np.float32) / 4
    weights = negative_weights(tf.constant(similarities), labels_of(n), within).numpy()
    sizes = set()
    for i, row in enumerate(similarities):
        columns = [j for j in range(2 * n) if (i < n) != (j < n) and i % n != j % n]
        picked = semi_hard(row[(i + n) % (2 * n)], row[columns], within)
        expected = {j for j in columns if row[j] in picked}
        assert set(np.flatnonzero(weights[i])) == expected and len(expected) == len(picked)
        np.testing.assert_allclose(weights[i][sorted(expected)], 1 / max(len(expected), 1))
        sizes.add(len(expected))
    assert 0 in sizes and (within == 0.25 or max(sizes) > 1)


@EACH_LOSS
def test_the_order_of_images_does_not_matter(loss):
    z, order = np.round(views(8, d=2)), np.random.default_rng(0).permutation(8)
    loss = functools.partial(loss, hidden_norm=False)  # whole numbers: similarities are exact, and many are equal
    out, gradient = value_and_gradient(loss, z)
    again, permuted = value_and_gradient(loss, z[:, order])
    assert float(out.loss) == pytest.approx(float(again.loss), rel=1e-6)
    np.testing.assert_allclose(permuted, gradient.numpy()[:, order], rtol=1e-5, atol=1e-6)


@EACH_LOSS
def test_views_are_treated_alike(loss):
    z = views(6)
    assert float(loss(z[0], z[1]).loss) == pytest.approx(float(loss(z[1], z[0]).loss), rel=1e-6)


@EACH_LOSS
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_give_the_loss_and_gradient_of_the_whole_batch(loss, replicas, mirrored):
    z = views(12, d=6, seed=4)
    want, want_gradient = value_and_gradient(loss, z)
    means, gradient = on_replicas(loss, z, mirrored(replicas))
    np.testing.assert_allclose(means, want, rtol=1e-5)
    assert np.abs(want_gradient).max() > 1e-3
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-7)


@EACH_LOSS
@pytest.mark.parametrize("block_rows", [1, 5, 22])
def test_blocks_of_any_size_are_the_whole(loss, block_rows):
    z = views(11)
    want, want_gradient = value_and_gradient(functools.partial(loss, block_rows=1000), z)
    got, gradient = value_and_gradient(functools.partial(loss, block_rows=block_rows), z)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-6)


@EACH_LOSS
@pytest.mark.parametrize("norm", [True, False])
def test_accuracy_and_entropy_are_those_of_nt_xent(loss, norm):
    z = views(16)
    got = loss(*z, temperature=0.3, hidden_norm=norm)
    want = nt_xent(*z, temperature=0.3, hidden_norm=norm)
    np.testing.assert_allclose(got[1:], want[1:], rtol=1e-5)
    assert 0 < float(got.accuracy) < 1


@EACH_LOSS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_projections_give_a_float32_loss_and_a_finite_gradient(loss, dtype):
    z = tf.cast(tf.random.stateless_normal([2, 8, 16], [0, 1]) * 100, dtype)
    out, gradient = value_and_gradient(functools.partial(loss, temperature=0.5, hidden_norm=False), z)
    assert out.loss.dtype == tf.float32 and np.isfinite(out).all()
    assert gradient.dtype == z.dtype and np.isfinite(tf.cast(gradient, tf.float32)).all()
    exact = loss(*tf.cast(z, tf.float32), temperature=0.5, hidden_norm=False)
    assert float(out.loss) == pytest.approx(float(exact.loss), rel=1e-6)


def found(z):
    """Share of first views whose positive is the most similar of all second views."""
    z = tf.math.l2_normalize(z, axis=-1).numpy()
    return np.mean((z[0] @ z[1].T).argmax(axis=1) == np.arange(z.shape[1]))


@EACH_LOSS
def test_free_vectors_learn(loss):
    """Twenty steps down the gradient: the loss without mining falls, and more anchors find their positive.

    They find it among the second views: nothing moves free vectors of one view apart, as one network for both would.
    """
    judge = functools.partial(loss, semi_hard=False)
    start = z = tf.constant(views(8, d=4, seed=2))
    for _ in range(20):
        _, gradient = value_and_gradient(loss, z)
        z = z - 2.0 * gradient
    assert float(judge(z[0], z[1]).loss) < 0.9 * float(judge(start[0], start[1]).loss)
    assert found(z) > found(start)


@pytest.mark.parametrize(
    "loss,values,message",
    [
        (nt_logistic, {"temperature": 0}, "`temperature` must be > 0"),
        (margin_triplet, {"temperature": -1}, "`temperature` must be > 0"),
        (margin_triplet, {"margin": -0.1}, "`margin` must be >= 0"),
        (margin_triplet, {"margin": 0, "semi_hard": True}, "`margin` must be > 0"),
        (nt_logistic, {"margin": 0, "semi_hard": True}, "`margin` must be > 0"),
        (nt_logistic, {"block_rows": 0}, "`block_rows` must be >= 1"),
    ],
)
def test_numbers_that_cannot_work_are_refused(loss, values, message):
    with pytest.raises(InputError, match=message):
        loss(*views(3), **values)
