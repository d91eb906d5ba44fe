"""NT-Xent, the normalised temperature-scaled cross entropy (SimCLR, Equation 1), and what it tells of the task."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.ops import collectives


class ContrastiveOutput(NamedTuple):
    """The loss of a replica's own anchors and how well they find their positives; float32 scalars.

    Attributes:
        loss: mean of l(i, j) over the local 2n anchors, in nats.
        accuracy: share of anchors whose positive is the most similar of all 2N - 1 candidates, in [0, 1].
        entropy: mean entropy of the softmax over the 2N - 1 candidates, in nats.
    """

    loss: tf.Tensor
    accuracy: tf.Tensor
    entropy: tf.Tensor


def chance_level(global_batch_size: int) -> float:
    """The loss of projections that carry no information: ln(2N - 1), in nats."""
    return math.log(2 * global_batch_size - 1)


def nt_xent(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
) -> ContrastiveOutput:
    """NT-Xent over the global batch, for the anchors of this replica.

    Every anchor is compared with all other 2N - 1 projections of the global batch, those of other replicas included
    (gathered with gradient). The mean over replicas of `loss` is the paper's loss: the mean over all 2N ordered pairs.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.

    Returns:
        ContrastiveOutput, computed in float32.

    Raises:
        InputError: temperature is not above 0.
    """
    require_range("temperature", temperature, above=0)
    z_a, z_b = (_prepare(z, hidden_norm) for z in (projections_a, projections_b))  # [n, d]
    n = tf.shape(z_a)[0]
    all_a, all_b = collectives.gather_with_gradient(z_a), collectives.gather_with_gradient(z_b)
    anchors = tf.concat([z_a, z_b], axis=0)  # [2n, d], n local
    candidates = tf.concat([all_a, all_b], axis=0)  # [2N, d], N global
    global_n = tf.shape(all_a)[0]
    position = collectives.replica_id() * n + tf.range(n)  # of the local examples in the global batch
    own = tf.concat([position, position + global_n], axis=0)  # [2n]
    positive = tf.concat([position + global_n, position], axis=0)  # [2n]
    logits = tf.matmul(anchors, candidates, transpose_b=True) / temperature  # [2n, 2N]
    return _cross_entropy(logits, own, positive)


def _prepare(projections: tf.Tensor, hidden_norm: bool) -> tf.Tensor:
    z = tf.cast(projections, tf.float32)
    return tf.math.l2_normalize(z, axis=-1) if hidden_norm else z


def _cross_entropy(logits: tf.Tensor, own: tf.Tensor, positive: tf.Tensor) -> ContrastiveOutput:
    """Softmax cross entropy of float32 logits [2n, 2N] with the anchor's own column left out."""
    columns = tf.range(tf.shape(logits)[1])[tf.newaxis, :]
    itself = tf.equal(columns, own[:, tf.newaxis])
    # The most negative float, not an infinity and not a fixed 1e9: exp() of it is 0 in every float type, and the
    # gradient through tf.where stays 0 instead of becoming inf - inf.
    masked = tf.where(itself, logits.dtype.min, logits)
    log_partition = tf.reduce_logsumexp(masked, axis=1)  # [2n]
    positive_logit = tf.gather(logits, positive, axis=1, batch_dims=1)
    loss = tf.reduce_mean(log_partition - positive_logit)
    hits = tf.equal(tf.argmax(masked, axis=1, output_type=tf.int32), positive)
    log_probability = tf.stop_gradient(masked - log_partition[:, tf.newaxis])
    probability = tf.exp(log_probability)
    # 0 * log 0 is 0 for the anchor itself.
    entropy = -tf.reduce_sum(tf.where(itself, 0.0, probability * log_probability), axis=1)
    return ContrastiveOutput(loss, tf.reduce_mean(tf.cast(hits, tf.float32)), tf.reduce_mean(entropy))
