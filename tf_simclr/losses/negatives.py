"""Which negatives an anchor learns from, in the losses that do not rank all candidates as NT-Xent does."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.ops import collectives


def require_margin(margin: float, semi_hard: bool) -> None:
    """Raises InputError for a margin below 0, and for 0 where negatives are mined: none is within it."""
    if semi_hard:
        require_range("margin", margin, above=0)
    else:
        require_range("margin", margin, at_least=0)


def require_other_images(loss: str, projections: tf.Tensor) -> None:
    """Raises InputError where projections [n, d] of a replica are known to be the only image of the global batch."""
    if tf.TensorShape(projections.shape)[:1] == [1] and collectives.replica_count() == 1:
        raise InputError(
            f"`{loss}` compares an image with others, and needs a batch of 2 or more. Received: one image. Pass a "
            "larger batch"
        )


def of_other_images(similarities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Which candidates are views of another image than the anchor's: 2N - 2 of each row, bool [b, 2N].

    Args:
        similarities: [b, 2N].
        labels: int32 [b, 2], the columns of the anchor itself and of its positive.
    """
    columns = tf.range(tf.shape(similarities)[1])
    return tf.logical_and(tf.not_equal(columns, labels[:, :1]), tf.not_equal(columns, labels[:, 1:]))


def negative_weights(similarities: tf.Tensor, labels: tf.Tensor, within: float | None) -> tf.Tensor:
    """The weight of every candidate in the mean over an anchor's negatives.

    The negatives of an anchor are the views of all other images from the augmentation that is not its own (SimCLR,
    Appendix B.10): N - 1 of the 2N - 2. Without mining they share a weight of 1.

    With semi-hard mining (Schroff et al. 2015) only the most similar of those remains that are less similar than the
    positive, by less than `within`. Several that are equally similar share the weight, so that the order of the
    images does not matter. Where there is none, all weights are 0. Collapsed projections, all the same, have none.

    Args:
        similarities: float32 [b, 2N], first views before second views.
        labels: int32 [b, 2], the columns of the anchor itself and of its positive.
        within: the margin, in the unit of the similarities; None for no mining.

    Returns:
        float32 [b, 2N], without gradient; each row sums to 1, or to 0 where the anchor has no negative.
    """
    columns = tf.range(tf.shape(similarities)[1])
    own, positive = labels[:, :1], labels[:, 1:]  # [b, 1]
    global_n = tf.shape(similarities)[1] // 2
    other_view = tf.not_equal(columns // global_n, own // global_n)
    chosen = tf.logical_and(other_view, tf.not_equal(columns, positive))  # [b, 2N]
    if within is not None:
        lead = tf.gather(similarities, positive, axis=1, batch_dims=1) - similarities  # of the positive
        chosen = tf.logical_and(chosen, tf.logical_and(lead > 0, lead < within))
        closest = tf.reduce_max(tf.where(chosen, similarities, similarities.dtype.min), axis=1, keepdims=True)
        chosen = tf.logical_and(chosen, tf.equal(similarities, closest))
    share = tf.cast(chosen, tf.float32)
    return tf.stop_gradient(share / tf.maximum(tf.reduce_sum(share, axis=1, keepdims=True), 1.0))
