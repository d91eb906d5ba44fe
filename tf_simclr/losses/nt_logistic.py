"""NT-Logistic, the normalised temperature-scaled logistic loss (SimCLR, Table 2 and Appendix B.10)."""

from __future__ import annotations

import functools
import math

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput, compare_views, identify_positive
from tf_simclr.losses.negatives import negative_weights, require_margin
from tf_simclr.losses.row_blocks import Triple

# What similarities of 0 give. Projections that carry no information cannot do better without mining, since positives
# and negatives are then alike: for every x, -log sigma(x) - log sigma(-x) >= 2 ln 2.
CHANCE_LEVEL = 2 * math.log(2)


def nt_logistic(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
    semi_hard: bool = False,
    margin: float = 0.4,
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """NT-Logistic over the global batch, for the anchors of this replica, to be minimised.

    For an anchor u with positive v+: -log sigma(u.v+ / tau), and the mean over its negatives v- of
    -log sigma(-u.v- / tau). The negatives are the views of the other images of the global batch from the
    augmentation that is not the anchor's. Both views are anchors, and the loss is the mean over all 2N; the mean over
    replicas of `loss` is that of the whole batch.

    The paper's loss has no margin of its own. With `semi_hard`, the margin here is one of similarities, before they
    are divided by the temperature, as in the margin triplet loss: the one negative used is the most similar with
    u.v+ - margin < u.v- < u.v+. An anchor without such a negative keeps the term of its positive alone.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        semi_hard: learn from the semi-hard negative only (`negative_weights`).
        margin: of the semi-hard negatives, > 0; not used without `semi_hard`.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.

    Returns:
        ContrastiveOutput, computed in float32; accuracy and entropy are those of NT-Xent, over all 2N - 1 candidates.

    Raises:
        InputError: a number that cannot work.
    """
    require_range("temperature", temperature, above=0)
    require_margin(margin, semi_hard)
    within = margin / temperature if semi_hard else None
    row_values = functools.partial(_row_values, temperature=temperature, within=within)
    return compare_views(row_values, projections_a, projections_b, hidden_norm=hidden_norm, block_rows=block_rows)


def _row_values(
    anchors: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor, *, temperature: float, within: float | None
) -> Triple:
    logits = tf.matmul(anchors / temperature, candidates, transpose_b=True)  # [b, 2N]
    positive = tf.gather(logits, labels[:, 1], axis=1, batch_dims=1)  # [b]
    weights = negative_weights(logits, labels, within)
    # softplus(x) is -log sigma(-x).
    loss = tf.nn.softplus(-positive) + tf.reduce_sum(weights * tf.nn.softplus(logits), axis=1)
    _, hit, entropy = identify_positive(logits, labels)
    return loss, hit, entropy
