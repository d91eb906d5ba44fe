"""Cross entropy with labels, and top-k counts."""

from __future__ import annotations

import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross entropy in nats over the examples that have a label.

    Args:
        logits: float [n, classes].
        labels: int [n], each in [0, classes), or -1 for an example without a label.

    Returns:
        float32 scalar; 0 where no example has a label.
    """
    per_example = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), tf.cast(logits, tf.float32))
    return _mean_over_labelled(per_example, labels)


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Top-1 accuracy over the examples that have a label, float32 scalar in [0, 1]; arguments as `cross_entropy`."""
    return _mean_over_labelled(top_k_hits(logits, tf.maximum(labels, 0), 1), labels)


def _mean_over_labelled(values: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    labelled = tf.cast(labels >= 0, tf.float32)
    return tf.reduce_sum(values * labelled) / tf.maximum(tf.reduce_sum(labelled), 1.0)


def top_k_hits(logits: tf.Tensor, labels: tf.Tensor, k: int) -> tf.Tensor:
    """1.0 where the label's logit is among the k highest, as float32 [n].

    A label that ties with others counts as a hit only where all the tied classes fit in the k places together, so that
    a classifier that answers the same for every class is never called right. An example with a NaN among its logits is
    a miss, whatever k is. Infinities are numbers like others: they lie beyond every finite logit, and two of one sign
    tie. The result is the same eagerly, in a graph and compiled.

    Args:
        logits: float [n, classes].
        labels: int [n], each in [0, classes).
        k: places; with k >= classes every example without a NaN is a hit.
    """
    logits = tf.cast(logits, tf.float32)
    own = tf.gather(logits, labels, axis=1, batch_dims=1)[:, tf.newaxis]
    # Every comparison with NaN is False, and none may be negated: TensorFlow's graph optimiser makes not (a < b) into
    # a >= b, which is no longer True for NaN.
    ahead = tf.reduce_sum(tf.cast(logits >= own, tf.int32), axis=1)  # the label itself counts one
    has_nan = tf.reduce_any(tf.math.is_nan(logits), axis=1)
    return tf.where(has_nan, 0.0, tf.cast(ahead <= k, tf.float32))
