"""The supervised contrastive loss, in which all images of a class are positives of each other (Khosla et al. 2020)."""

from __future__ import annotations

import functools

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.losses.anchors import ContrastiveOutput, compare_views, identify_positive
from tf_simclr.losses.row_blocks import Triple


def supcon(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    labels: tf.Tensor,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
    block_rows: int | None = None,
) -> ContrastiveOutput:
    """The supervised contrastive loss over the global batch, for the anchors of this replica, to be minimised.

    The positives P of an anchor u are its other view and both views of all images of its class, on other replicas too.
    A are all 2N - 1 other projections:

        -1 / |P| sum_{p in P} log(exp(u.p / tau) / sum_{a in A} exp(u.a / tau))

    The mean over P is outside of the logarithm: L_out, the better of the paper's two. An image without a label has one
    positive, its other view, and is a negative of all others; where no image has a label, or each a class of its own,
    the loss is NT-Xent. Both views are anchors, and the loss is the mean over all 2N; the mean over replicas of `loss`
    is that of the whole batch.

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        labels: int [n], the classes of the local examples; -1 without a label.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.

    Returns:
        ContrastiveOutput, computed in float32; accuracy and entropy are those of NT-Xent, whose one positive is the
        anchor's other view.

    Raises:
        InputError: temperature is not above 0, block_rows is below 1, or the labels are not one integer an image.

    Reference: Khosla et al. 2020, "Supervised Contrastive Learning", Equation 2.
    """
    require_range("temperature", temperature, above=0)
    classes = _require_classes(labels, projections_a)
    row_values = functools.partial(_row_values, temperature=temperature)
    return compare_views(
        row_values, projections_a, projections_b, hidden_norm=hidden_norm, block_rows=block_rows, classes=classes
    )


def _require_classes(labels: tf.Tensor, projections: tf.Tensor) -> tf.Tensor:
    """The labels as int64 [n]: one-hot rows, or labels of another batch, would give a loss all the same."""
    if labels is None:
        raise InputError(
            "the supervised contrastive loss needs labels. Received: labels=None. Pass class numbers [n], with -1 for "
            "an image without a label"
        )
    classes = tf.convert_to_tensor(labels)
    expected = tf.TensorShape(projections.shape)[:1]
    if not (classes.dtype.is_integer and classes.shape.is_compatible_with(expected)):
        raise InputError(
            f"`labels` must be class numbers {expected}, one integer an image. Received: {classes.dtype.name} of shape "
            f"{classes.shape}. Take the argmax of one-hot rows"
        )
    return tf.cast(classes, tf.int64)


def _row_values(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    labels: tf.Tensor,
    *,
    candidate_classes: tf.Tensor,
    temperature: float,
) -> Triple:
    """As `RowValues`; labels int32 [b, 3] end with the class of the anchor, candidate_classes are int32 [2N]."""
    logits = tf.matmul(anchors / temperature, candidates, transpose_b=True)  # [b, 2N]
    own, second_view, class_of = (labels[:, i : i + 1] for i in range(3))  # [b, 1]
    columns = tf.range(tf.shape(logits)[1])
    same_class = tf.logical_and(tf.equal(candidate_classes, class_of), class_of >= 0)
    positives = tf.logical_or(same_class, tf.equal(columns, second_view))
    positives = tf.logical_and(positives, tf.not_equal(columns, own))  # [b, 2N]
    # None only in a row that fills up a block, whose NaN would reach the gradient in spite of its weight of 0.
    count = tf.maximum(tf.reduce_sum(tf.cast(positives, tf.float32), axis=1), 1.0)
    mean_positive = tf.reduce_sum(tf.where(positives, logits, 0.0), axis=1) / count
    nt_xent, hit, entropy = identify_positive(logits, labels[:, :2])
    return nt_xent + tf.gather(logits, labels[:, 1], axis=1, batch_dims=1) - mean_positive, hit, entropy
