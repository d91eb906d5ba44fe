"""What the contrastive losses share: a replica's anchors among all projections of the global batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.losses.row_blocks import Triple, mean_over_rows
from tf_simclr.ops import collectives

# Entries of the similarity matrix up to which one block is taken, because blocks gain no time there, and entries of a
# block above that: 128 rows at 2N = 16,384 (docs/benchmarks.md).
_PLAIN_ENTRIES = 2**24
_BLOCK_ENTRIES = 2**21


class ContrastiveOutput(NamedTuple):
    """The loss of a replica's own anchors and how well they find their positives; float32 scalars.

    Accuracy and entropy mean the same whatever the loss, so that runs with different losses can be compared. It is no
    tensor, and TensorFlow is kept from making one of the three numbers.

    Attributes:
        loss: mean over the local 2n anchors; in nats, except for the margin triplet's, which is in units of similarity.
        accuracy: share of anchors whose positive is the most similar of all 2N - 1 candidates, in [0, 1].
        entropy: mean entropy of the softmax over the 2N - 1 candidates, in nats.
    """

    loss: tf.Tensor
    accuracy: tf.Tensor
    entropy: tf.Tensor


def _refuse_to_become_a_tensor(
    value: ContrastiveOutput, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> NoReturn:
    """Keras, given one of the functions as a loss, would train the mean of loss, accuracy and entropy."""
    del value, dtype, name, as_ref
    raise InputError(
        "a loss must be one number. Received: ContrastiveOutput, which is (loss, accuracy, entropy). Train with "
        "tf_simclr.SimCLR(encoder, head, loss=tf_simclr.losses.NTXent()), or take its `.loss`"
    )


class Memory(NamedTuple):
    """Projections of earlier batches, negatives of all anchors.

    Attributes:
        projections: float32 [m, d], the newest first; normalised where the loss normalises.
        filled: int32 scalar, how many of them there are yet; the rows behind them are left out.
    """

    projections: tf.Tensor
    filled: tf.Tensor


# Before the rule for tuples, whose priority is 100.
tf.register_tensor_conversion_function(ContrastiveOutput, _refuse_to_become_a_tensor, priority=50)


def compare_views(
    row_values: Callable[..., Triple],
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    hidden_norm: bool,
    block_rows: int | None,
    classes: tf.Tensor | None = None,
    memory: Memory | None = None,
) -> ContrastiveOutput:
    """Means over the local 2n anchors of what `row_values` says of each; all of the global batch are its candidates.

    The mean over replicas of what is returned is the mean over all 2N anchors. Candidates of other replicas are
    gathered with gradient.

    Args:
        row_values: (anchors float32 [b, d], candidates float32 [2N, d], labels int32 [b, 2]) -> loss, hit (1 or 0) and
            entropy, float32 [b] each. Candidates are all first views, then all second views; labels are the columns
            of the anchor itself and of its positive. With `classes`, labels int32 [b, 3] have the anchor's class as
            well, and a keyword candidate_classes gives those of the candidates, int32 [2N]. With `memory`, candidates
            are [2N + m, d], and a keyword count, int32 scalar, says how many of them there are; those behind are none.
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        block_rows: anchors whose similarities are held at once. A block of [block_rows, 2N] is all that is ever held of
            the matrix [2n, 2N], for the gradient too; second derivatives are then not available. At least 2n: the
            whole matrix at once. None: the whole matrix where it is small, else blocks.
        classes: int64 [n], classes of the local examples, for a `row_values` that needs them.
        memory: more candidates, the same on every replica; no gradient reaches them.

    Returns:
        ContrastiveOutput, computed in float32.

    Raises:
        InputError: block_rows is below 1, or the projections are no pairs.
    """
    if block_rows is not None:
        require_range("block_rows", block_rows, at_least=1)
    _require_pairs(projections_a, projections_b)
    z_a, z_b = (prepare(z, hidden_norm) for z in (projections_a, projections_b))  # [n, d]
    n = tf.shape(z_a)[0]
    all_a, all_b = collectives.gather_with_gradient(z_a), collectives.gather_with_gradient(z_b)
    anchors = tf.concat([z_a, z_b], axis=0)  # [2n, d], n local
    candidates = tf.concat([all_a, all_b], axis=0)  # [2N, d], N global
    global_n = tf.shape(all_a)[0]
    position = collectives.replica_id() * n + tf.range(n)  # of the local examples in the global batch
    own = tf.concat([position, position + global_n], axis=0)  # [2n]
    positive = tf.concat([position + global_n, position], axis=0)  # [2n]
    labels = tf.stack([own, positive], axis=1)  # [2n, 2]
    if classes is not None:
        local, everywhere = (
            tf.tile(tf.cast(part, tf.int32), [2]) for part in (classes, collectives.gather_with_gradient(classes))
        )  # [2n], [2N]
        labels = tf.concat([labels, local[:, tf.newaxis]], axis=1)  # [2n, 3]
        row_values = functools.partial(row_values, candidate_classes=everywhere)
    remembered = 0
    if memory is not None:
        remembered = memory.projections.shape[0]
        candidates = tf.concat([candidates, tf.stop_gradient(memory.projections)], axis=0)  # [2N + m, d]
        row_values = functools.partial(row_values, count=2 * global_n + memory.filled)
    if block_rows is None:
        block_rows = _default_block_rows(anchors.shape[0], collectives.replica_count(), remembered)
    return ContrastiveOutput(*mean_over_rows(row_values, anchors, candidates, labels, block_rows))


def _require_pairs(projections_a: tf.Tensor, projections_b: tf.Tensor) -> None:
    """Labels and predictions, which Keras hands to what it takes for a loss of them, would fail less clearly."""
    a, b = (tf.TensorShape(z.shape) for z in (projections_a, projections_b))
    if a.rank not in (2, None) or not a.is_compatible_with(b):
        raise InputError(
            "a contrastive loss compares projections [n, d] of two views of the same n images. Received: shapes "
            f"{a} and {b}. In Keras, train with tf_simclr.SimCLR(encoder, head, loss=tf_simclr.losses.NTXent()), which "
            "makes the pairs"
        )


def prepare(projections: tf.Tensor, hidden_norm: bool) -> tf.Tensor:
    """Projections [n, d] as they are compared: float32, of length 1 with `hidden_norm`."""
    z = tf.cast(projections, tf.float32)
    return tf.math.l2_normalize(z, axis=-1) if hidden_norm else z


def _default_block_rows(rows: int | None, replicas: int, remembered: int = 0) -> int | None:
    """Rows of a block, or None for all rows at once: where the matrix is small, or its shape not known in advance."""
    if rows is None:
        return None
    columns = rows * replicas + remembered
    return None if rows * columns <= _PLAIN_ENTRIES else max(1, _BLOCK_ENTRIES // columns)


def identify_positive(logits: tf.Tensor, labels: tf.Tensor, count: tf.Tensor | None = None) -> Triple:
    """Cross entropy, hit (1 or 0) and entropy of each anchor's softmax over its 2N - 1 candidates, float32 [b] each.

    An anchor with a similarity that is not finite is no hit, and its entropy is NaN.

    Args:
        logits: float32 [b, 2N], similarities divided by the temperature; the anchor's own column is left out.
        labels: int32 [b, 2], the columns of the anchor itself and of its positive.
        count: int32 scalar, from which column on there are no candidates; None where all are.
    """
    own, positive = labels[:, 0], labels[:, 1]
    columns = tf.range(tf.shape(logits)[1])
    left_out = tf.equal(columns, own[:, tf.newaxis])  # the anchor itself
    if count is not None:
        left_out = tf.logical_or(left_out, columns >= count)
    # The most negative float, not an infinity and not a fixed 1e9: exp() of it is 0 in every float type, and the
    # gradient through tf.where stays 0 instead of becoming inf - inf.
    masked = tf.where(left_out, logits.dtype.min, logits)
    peak = tf.stop_gradient(tf.reduce_max(masked, axis=1, keepdims=True))
    shifted = masked - peak
    weight = tf.exp(shifted)  # softmax times total
    total = tf.reduce_sum(weight, axis=1)  # [b]
    loss = tf.math.log(total) + (peak[:, 0] - tf.gather(logits, positive, axis=1, batch_dims=1))
    first = tf.equal(tf.argmax(masked, axis=1, output_type=tf.int32), positive)
    # -sum p log p with p = weight / total. Summed as p log p itself, XLA's entropy was off by 4e-4 (relative, CPU) at
    # 2N = 8192, and this form's was not.
    entropy = tf.math.log(total) - tf.reduce_sum(weight * shifted, axis=1) / total
    # The argmax of NaNs is a place like any other, which may be the positive's: the entropy shows it.
    return loss, tf.cast(tf.logical_and(first, tf.math.is_finite(entropy)), tf.float32), entropy
