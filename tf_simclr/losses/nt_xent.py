"""NT-Xent, the normalised temperature-scaled cross entropy (SimCLR, Equation 1), and what it tells of the task."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.row_blocks import mean_over_rows
from tf_simclr.ops import collectives

# Entries of the similarity matrix up to which one block is taken, because blocks gain no time there, and entries of a
# block above that: 128 rows at 2N = 16,384 (docs/benchmarks.md).
_PLAIN_ENTRIES = 2**24
_BLOCK_ENTRIES = 2**21


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
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """NT-Xent over the global batch, for the anchors of this replica.

    Every anchor is compared with all other 2N - 1 projections of the global batch, those of other replicas included
    (gathered with gradient). The mean over replicas of `loss` is the paper's loss: the mean over all 2N ordered pairs.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        block_rows: anchors whose similarities are held at once. A block of [block_rows, 2N] is all that is ever held of
            the matrix [2n, 2N], for the gradient too; second derivatives are then not available. At least 2n: the
            whole matrix at once. None: the whole matrix where it is small, else blocks.

    Returns:
        ContrastiveOutput, computed in float32.

    Raises:
        InputError: temperature is not above 0, or block_rows is below 1.
    """
    require_range("temperature", temperature, above=0)
    if block_rows is not None:
        require_range("block_rows", block_rows, at_least=1)
    z_a, z_b = (_prepare(z, hidden_norm) for z in (projections_a, projections_b))  # [n, d]
    n = tf.shape(z_a)[0]
    all_a, all_b = collectives.gather_with_gradient(z_a), collectives.gather_with_gradient(z_b)
    anchors = tf.concat([z_a, z_b], axis=0) / temperature  # [2n, d], n local; here the division is of n d numbers
    candidates = tf.concat([all_a, all_b], axis=0)  # [2N, d], N global
    global_n = tf.shape(all_a)[0]
    position = collectives.replica_id() * n + tf.range(n)  # of the local examples in the global batch
    own = tf.concat([position, position + global_n], axis=0)  # [2n]
    positive = tf.concat([position + global_n, position], axis=0)  # [2n]
    labels = tf.stack([own, positive], axis=1)  # [2n, 2]
    if block_rows is None:
        block_rows = _default_block_rows(anchors.shape[0], collectives.replica_count())
    return ContrastiveOutput(*mean_over_rows(_row_values, anchors, candidates, labels, block_rows))


def _prepare(projections: tf.Tensor, hidden_norm: bool) -> tf.Tensor:
    z = tf.cast(projections, tf.float32)
    return tf.math.l2_normalize(z, axis=-1) if hidden_norm else z


def _default_block_rows(rows: int | None, replicas: int) -> int | None:
    """Rows of a block, or None for all rows at once: where the matrix is small, or its shape not known in advance."""
    if rows is None or rows * rows * replicas <= _PLAIN_ENTRIES:
        return None
    return max(1, _BLOCK_ENTRIES // (rows * replicas))


def _row_values(anchors: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Loss, hit (1 or 0) and entropy of each anchor, with its own column left out of the softmax.

    Args:
        anchors: float32 [b, d], divided by the temperature.
        candidates: float32 [2N, d].
        labels: int32 [b, 2], the columns of the anchor itself and of its positive.
    """
    own, positive = labels[:, 0], labels[:, 1]
    logits = tf.matmul(anchors, candidates, transpose_b=True)  # [b, 2N]
    itself = tf.equal(tf.range(tf.shape(logits)[1]), own[:, tf.newaxis])
    # The most negative float, not an infinity and not a fixed 1e9: exp() of it is 0 in every float type, and the
    # gradient through tf.where stays 0 instead of becoming inf - inf.
    masked = tf.where(itself, logits.dtype.min, logits)
    peak = tf.stop_gradient(tf.reduce_max(masked, axis=1, keepdims=True))
    shifted = masked - peak
    weight = tf.exp(shifted)  # softmax times total
    total = tf.reduce_sum(weight, axis=1)  # [b]
    loss = tf.math.log(total) + (peak[:, 0] - tf.gather(logits, positive, axis=1, batch_dims=1))
    hit = tf.equal(tf.argmax(masked, axis=1, output_type=tf.int32), positive)
    # -sum p log p with p = weight / total. Summed as p log p itself, XLA's entropy was off by 4e-4 (relative, CPU) at
    # 2N = 8192, and this form's was not.
    entropy = tf.math.log(total) - tf.reduce_sum(weight * shifted, axis=1) / total
    return loss, tf.cast(hit, tf.float32), entropy
