"""The distillation loss: a student learns the class probabilities of a teacher, and labels where there are some."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import require_range


def soft_cross_entropy(student_logits: tf.Tensor, teacher_logits: tf.Tensor, *, temperature: float = 1.0) -> tf.Tensor:
    """Mean cross entropy in nats between the teacher's and the student's probabilities, both at a temperature.

        -1 / n sum_i sum_y P_T(y | x_i; tau) log P_S(y | x_i; tau),    P(y | x; tau) = softmax(logits / tau)

    The gradient with respect to a logit is (P_S - P_T) / (n tau). It grows as the temperature falls, and shrinks by
    about tau^2 where that is large; as in the paper, no factor tau^2 compensates for that.

    Args:
        student_logits: float [n, classes].
        teacher_logits: float [n, classes]; no gradient reaches them.
        temperature: tau > 0, default 1.

    Returns:
        float32 scalar, at least the entropy of the teacher's probabilities.

    Raises:
        InputError: temperature is not above 0.

    Reference: Chen et al. 2020, "Big Self-Supervised Models are Strong Semi-Supervised Learners", Equation 2.
    """
    require_range("temperature", temperature, above=0)
    wanted = tf.nn.softmax(tf.stop_gradient(tf.cast(teacher_logits, tf.float32)) / temperature)
    found = tf.nn.log_softmax(tf.cast(student_logits, tf.float32) / temperature)  # [n, classes]
    return -tf.reduce_mean(tf.reduce_sum(wanted * found, axis=1))


def label_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Softmax cross entropy in nats with the labels, summed over the images that have one, over all n images.

    An image without a label adds nothing and counts in the mean. So the mean over replicas, or over micro-batches of
    one size, is that of the whole batch, wherever the labelled images are. With a label on every image it is
    `cross_entropy` of `losses/supervised.py`.

    Args:
        logits: float [n, classes].
        labels: int [n], each in [0, classes), or -1 for an image without a label.

    Returns:
        float32 scalar.
    """
    per_image = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), tf.cast(logits, tf.float32))
    labelled = tf.cast(labels >= 0, tf.float32)
    return tf.reduce_sum(per_image * labelled) / tf.cast(tf.shape(per_image)[0], tf.float32)


def weighted_loss(distilled: tf.Tensor, labelled: tf.Tensor | None, *, alpha: float = 1.0) -> tf.Tensor:
    """(1 - alpha) * labelled + alpha * distilled: what a student minimises.

    Args:
        distilled: scalar, from `soft_cross_entropy`.
        labelled: scalar, from `label_cross_entropy`; None with an alpha of 1, which uses no label.
        alpha: weight of the teacher, in [0, 1], default 1.

    Raises:
        InputError: alpha is outside of [0, 1].

    Reference: Chen et al. 2020, "Big Self-Supervised Models are Strong Semi-Supervised Learners", Equation 3.
    """
    require_range("alpha", alpha, at_least=0, at_most=1)
    if labelled is None:
        assert alpha == 1, "with an alpha below 1 the labels count"
        return distilled
    return (1.0 - alpha) * labelled + alpha * distilled
