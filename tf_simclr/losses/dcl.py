"""The decoupled contrastive loss, NT-Xent without the positive in its denominator (Yeh et al. 2022)."""

from __future__ import annotations

import functools
import math

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput, compare_views, identify_positive
from tf_simclr.losses.negatives import of_other_images, require_other_images
from tf_simclr.losses.row_blocks import Triple


def chance_level(global_batch_size: int) -> float:
    """The least that projections without information can have: ln(2N - 2), in nats; N >= 2."""
    return math.log(2 * global_batch_size - 2)


def dcl(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """The decoupled contrastive loss over the global batch, for the anchors of this replica, to be minimised.

    For an anchor u with positive v+ and the 2N - 2 views v- of the other images:

        -u.v+ / tau + log sum_{v-} exp(u.v- / tau)

    In NT-Xent the sum has the positive's term as well, and a positive that is easy then weakens the gradient of all
    negatives. Here it does not, which helps small batches most. The loss has no lower bound at 0. Both views are
    anchors, and the loss is the mean over all 2N; the mean over replicas of `loss` is that of the whole batch. The
    paper's second variant, which weighs the positive terms by a von Mises-Fisher density, is not implemented.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.

    Returns:
        ContrastiveOutput, computed in float32; accuracy and entropy are those of NT-Xent, over all 2N - 1 candidates.

    Raises:
        InputError: temperature is not above 0, block_rows is below 1, or the global batch is one image.

    Reference: Yeh et al. 2022, "Decoupled Contrastive Learning", the loss L_DC of Section 3.
    """
    require_range("temperature", temperature, above=0)
    require_other_images("dcl", projections_a)
    row_values = functools.partial(_row_values, temperature=temperature)
    return compare_views(row_values, projections_a, projections_b, hidden_norm=hidden_norm, block_rows=block_rows)


def _row_values(anchors: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor, *, temperature: float) -> Triple:
    logits = tf.matmul(anchors / temperature, candidates, transpose_b=True)  # [b, 2N]
    positive = tf.gather(logits, labels[:, 1], axis=1, batch_dims=1)  # [b]
    # As in identify_positive: exp() of the most negative float is 0, and so is its gradient.
    negatives = tf.where(of_other_images(logits, labels), logits, logits.dtype.min)
    loss = tf.reduce_logsumexp(negatives, axis=1) - positive
    _, hit, entropy = identify_positive(logits, labels)
    return loss, hit, entropy
