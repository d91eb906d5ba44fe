"""The margin triplet loss (SimCLR, Table 2 and Appendix B.10; Schroff et al. 2015)."""

from __future__ import annotations

import functools

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput, compare_views, identify_positive
from tf_simclr.losses.negatives import negative_weights, require_margin
from tf_simclr.losses.row_blocks import Triple


def margin_triplet(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    margin: float = 0.4,
    hidden_norm: bool = True,
    semi_hard: bool = False,
    temperature: float = 0.1,
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """The margin triplet loss over the global batch, for the anchors of this replica, to be minimised.

    For an anchor u with positive v+: the mean over its negatives v- of max(u.v- - u.v+ + margin, 0). The negatives are
    the views of the other images of the global batch from the augmentation that is not the anchor's. Both views are
    anchors, and the loss is the mean over all 2N; the mean over replicas of `loss` is that of the whole batch.

    With `semi_hard` the one negative used is the most similar with u.v+ - margin < u.v- < u.v+. An anchor without such
    a negative has loss and gradient 0.

    On unit vectors u.v+ - u.v- is half the difference of squared distances: a margin of squared distances, as in
    Schroff et al., is twice this one.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        margin: m >= 0, in units of similarity; > 0 with `semi_hard`.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        semi_hard: learn from the semi-hard negative only (`negative_weights`).
        temperature: tau > 0 of the softmax whose entropy is returned; the loss has none.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.

    Returns:
        ContrastiveOutput, computed in float32; accuracy and entropy are those of NT-Xent, over all 2N - 1 candidates.

    Raises:
        InputError: a number that cannot work.
    """
    require_range("temperature", temperature, above=0)
    require_margin(margin, semi_hard)
    row_values = functools.partial(_row_values, margin=margin, semi_hard=semi_hard, temperature=temperature)
    return compare_views(row_values, projections_a, projections_b, hidden_norm=hidden_norm, block_rows=block_rows)


def _row_values(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    labels: tf.Tensor,
    *,
    margin: float,
    semi_hard: bool,
    temperature: float,
) -> Triple:
    similarities = tf.matmul(anchors, candidates, transpose_b=True)  # [b, 2N]
    positive = tf.gather(similarities, labels[:, 1:], axis=1, batch_dims=1)  # [b, 1]
    weights = negative_weights(similarities, labels, margin if semi_hard else None)
    loss = tf.reduce_sum(weights * tf.nn.relu(similarities - positive + margin), axis=1)
    _, hit, entropy = identify_positive(similarities / temperature, labels)
    return loss, hit, entropy
