"""NT-Xent, the normalised temperature-scaled cross entropy (SimCLR, Equation 1)."""

from __future__ import annotations

import functools
import math

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput, Memory, compare_views, identify_positive
from tf_simclr.losses.row_blocks import Triple


def chance_level(global_batch_size: int, remembered: int = 0) -> float:
    """The loss of projections that carry no information: ln(2N - 1 + m) with m negatives in a memory, in nats."""
    return math.log(2 * global_batch_size - 1 + remembered)


def nt_xent(
    projections_a: tf.Tensor,
    projections_b: tf.Tensor,
    *,
    temperature: float = 0.1,
    hidden_norm: bool = True,
    block_rows: int | None = None,
    memory: Memory | None = None,
) -> ContrastiveOutput:
    """NT-Xent over the global batch, for the anchors of this replica.

    Every anchor is compared with all other 2N - 1 projections of the global batch, those of other replicas included
    (gathered with gradient). The mean over replicas of `loss` is the paper's loss: the mean over all 2N ordered pairs.
    Projections in a memory are more negatives of every anchor (SimCLR v2, Section 2).

    Args:
        projections_a: float [n, d], first view of the local examples, any float dtype.
        projections_b: float [n, d], second view of the same examples in the same order.
        temperature: tau > 0.
        hidden_norm: l2-normalise the projections, so that similarities are cosines.
        block_rows: anchors whose similarities are held at once, as in `compare_views`.
        memory: of earlier batches, the same on every replica; without gradient. Accuracy and entropy are over all
            candidates, these among them.

    Returns:
        ContrastiveOutput, computed in float32.

    Raises:
        InputError: temperature is not above 0, or block_rows is below 1.
    """
    require_range("temperature", temperature, above=0)
    row_values = functools.partial(_row_values, temperature=temperature)
    return compare_views(
        row_values, projections_a, projections_b, hidden_norm=hidden_norm, block_rows=block_rows, memory=memory
    )


def _row_values(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    labels: tf.Tensor,
    *,
    temperature: float,
    count: tf.Tensor | None = None,
) -> Triple:
    # Divided here, the division is of b d numbers and not of b 2N.
    logits = tf.matmul(anchors / temperature, candidates, transpose_b=True)  # [b, 2N]
    return identify_positive(logits, labels, count)
