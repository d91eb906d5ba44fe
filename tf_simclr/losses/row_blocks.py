"""Means over the rows of a matrix too large to hold, with their gradient: block after block of rows."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Triple = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
# (anchors [b, d], candidates [m, d], labels [b, k]) -> loss, hit, entropy, float32 [b] each; every row on its own
RowValues = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Triple]


def mean_over_rows(
    row_values: RowValues,
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    labels: tf.Tensor,
    block_rows: int | None,
) -> Triple:
    """Means over all anchors of what `row_values` says of each, computed for `block_rows` anchors at a time.

    The gradient of the mean loss flows to anchors and candidates; the other means are statistics without gradient.
    With blocks it is found together with the value, while a block's matrix is still there: the mean loss is a scalar,
    so whatever is done with it later only scales this gradient. That costs three matrix products, where recomputing the
    block in the backward pass costs four, and needs memory for one block and for the gradient itself. A call that
    wants the value only pays for the gradient too. There is no second derivative: differentiating the gradient of
    the blocked form leaves out how it depends on anchors and candidates.

    Args:
        row_values: the mathematics of some rows, differentiable in the loss.
        anchors: float32 [rows, d].
        candidates: float32 [m, d], what each anchor is compared with.
        labels: int32 [rows, k], what `row_values` must know of each anchor.
        block_rows: anchors in a block, >= 1; need not divide `rows`. None, or at least `rows`: one block, through
            which TensorFlow differentiates as usual.

    Returns:
        the means of loss, hit and entropy, float32 scalars.
    """
    rows = anchors.shape[0]
    if block_rows is None or (rows is not None and block_rows >= rows):
        loss, hit, entropy = map(tf.reduce_mean, row_values(anchors, candidates, labels))
        return loss, tf.stop_gradient(hit), tf.stop_gradient(entropy)

    @tf.custom_gradient
    def means_and_gradient(
        anchors: tf.Tensor, candidates: tf.Tensor
    ) -> tuple[Triple, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        means, to_anchors, to_candidates = _sweep(row_values, anchors, candidates, labels, block_rows)

        def backward(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return upstream * to_anchors, upstream * to_candidates

        return (means[0], means[1], means[2]), backward

    return means_and_gradient(anchors, candidates)


def _sweep(
    row_values: RowValues, anchors: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor, block_rows: int
) -> Triple:
    """The means [3] and the gradient of the first one to anchors [rows, d] and to candidates [m, d]."""
    rows = tf.shape(anchors)[0]
    blocks = -(-rows // block_rows)
    # The last block becomes as long as the others; the rows that fill it have no share in the means.
    padding = [[0, blocks * block_rows - rows], [0, 0]]
    parts, part_labels = (tf.reshape(tf.pad(x, padding), [blocks, block_rows, x.shape[1]]) for x in (anchors, labels))

    def visit(
        block: tf.Tensor, means: tf.Tensor, to_candidates: tf.Tensor, to_anchors: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
        part = parts[block]  # [b, d]
        share = tf.cast(block * block_rows + tf.range(block_rows) < rows, tf.float32) / tf.cast(rows, tf.float32)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((part, candidates))
            values = row_values(part, candidates, part_labels[block])
            loss = tf.reduce_sum(values[0] * share)
        to_part, to_all = tape.gradient(loss, (part, candidates))
        means += tf.stack([tf.reduce_sum(v * share) for v in values])
        return block + 1, means, to_candidates + to_all, to_anchors.write(block, to_part)

    state = (0, tf.zeros([3]), tf.zeros_like(candidates), tf.TensorArray(tf.float32, size=blocks))
    # One block at a time: with more in parallel the memory is that of several.
    _, means, to_candidates, to_anchors = tf.while_loop(
        lambda block, *_: block < blocks, visit, state, parallel_iterations=1
    )
    return means, to_anchors.concat()[:rows], to_candidates
