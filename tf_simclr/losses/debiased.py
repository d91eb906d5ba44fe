"""Debiased NT-Xent, which corrects for negatives of the anchor's own class (Chuang et al. 2020)."""

from __future__ import annotations

import functools

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput, compare_views, identify_positive
from tf_simclr.losses.negatives import of_other_images, require_other_images
from tf_simclr.losses.row_blocks import Triple

MOST_CLASS_PRIOR = 0.99


def require_class_prior(class_prior: float) -> None:
    """Raises InputError for a prior that is no share of images, or leaves no negatives."""
    require_range("class_prior", class_prior, at_least=0, at_most=MOST_CLASS_PRIOR)


def debiased_nt_xent(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    temperature: float = 0.1,
    class_prior: float = 0.1,
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """Debiased NT-Xent over the global batch, for the anchors of this replica, to be minimised.

    Of the M = 2N - 2 views v- of other images, a share tau_plus (`class_prior`) shows the anchor's own class and is no
    negative at all. Their sum in the denominator is therefore replaced by an estimate over true negatives. For an
    anchor u with positive v+, the one sample of its class:

        g = max((mean_{v-} exp(u.v- / tau) - tau_plus exp(u.v+ / tau)) / (1 - tau_plus), exp(-1 / tau))
        -log(exp(u.v+ / tau) / (exp(u.v+ / tau) + M g))

    exp(-1 / tau) is the least that the exponential of a cosine can be, so the projections are always l2-normalised. An
    anchor at this bound learns from its positive alone. With class_prior = 0 the loss is NT-Xent. Both views are
    anchors, and the loss is the mean over all 2N; the mean over replicas of `loss` is that of the whole batch.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        class_prior: tau_plus in [0, 0.99], the share of images of the anchor's class: 1 / classes where all are as
            frequent.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.

    Returns:
        ContrastiveOutput, computed in float32; accuracy and entropy are those of NT-Xent, over all 2N - 1 candidates.

    Raises:
        InputError: a number out of its range, or a global batch of one image.

    Reference: Chuang et al. 2020, "Debiased Contrastive Learning", the estimator g and its loss in Section 4, with
        one positive sample.
    """
    require_range("temperature", temperature, above=0)
    require_class_prior(class_prior)
    require_other_images("debiased", projections_a)
    row_values = functools.partial(_row_values, temperature=temperature, class_prior=class_prior)
    return compare_views(row_values, projections_a, projections_b, hidden_norm=True, block_rows=block_rows)


def _row_values(
    anchors: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor, *, temperature: float, class_prior: float
) -> Triple:
    logits = tf.matmul(anchors / temperature, candidates, transpose_b=True)  # [b, 2N]
    positive = tf.gather(logits, labels[:, 1], axis=1, batch_dims=1)  # [b]
    negatives = tf.where(of_other_images(logits, labels), logits, logits.dtype.min)
    # All exponentials are taken relative to the largest of the row. At the bound below, the positive's is at least
    # 1 / (tau_plus M), so that the sum never underflows.
    peak = tf.stop_gradient(tf.maximum(tf.reduce_max(negatives, axis=1), positive))  # [b]
    own = tf.exp(positive - peak)
    total = tf.reduce_sum(tf.exp(negatives - peak[:, tf.newaxis]), axis=1)  # [b]
    count = tf.cast(tf.shape(logits)[1] - 2, tf.float32)  # M
    estimate = (total - class_prior * count * own) / (1.0 - class_prior)  # M g, if it is above its bound
    bound = count * tf.exp(-1.0 / temperature - peak)
    # A comparison with NaN is False, so that a NaN stays one; tf.maximum may drop it.
    estimate = tf.where(estimate < bound, bound, estimate)
    loss = tf.math.log(own + estimate) + (peak - positive)
    _, hit, entropy = identify_positive(logits, labels)
    return loss, hit, entropy
