"""Accuracy of the supervised head over a whole split, every example exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import DivergedError, InputError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.losses.supervised import top_k_hits
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.optim.decay import l2_penalty
from tf_simclr.train.build import TrainState
from tf_simclr.train.finite import REMEDY, require_finite_values

_NOT_FINITE = "not_finite"
TOP_1, TOP_5 = "eval/label_top_1_accuracy", "eval/label_top_5_accuracy"


def require_comparable_classes(train: ImageSource, evaluation: ImageSource) -> None:
    """Raises InputError where the two splits do not have the same classes."""
    if train.num_classes != evaluation.num_classes:
        raise InputError(
            f"`eval_split` must have the classes of the training split. Received: {evaluation.split!r} with "
            f"{evaluation.num_classes} classes, {train.split!r} with {train.num_classes}. Check both splits"
        )


def build_eval_function(
    strategy: tf.distribute.Strategy, model: SimCLRModel
) -> Callable[[dict[str, Any]], dict[str, tf.Tensor]]:
    """A compiled function batch -> counts of examples, hits and examples whose logits are not all finite.

    They are summed over replicas; padding counts nothing.
    """

    def replica_counts(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        logits = model.endpoints(batch["image"], training=False)["logits_sup"]
        mask = tf.cast(batch["mask"], tf.float32)
        # A padded row may carry any label; it is clipped into range and then counts nothing.
        labels = tf.maximum(batch["label"], 0)
        return {
            "examples": tf.reduce_sum(mask),
            TOP_1: tf.reduce_sum(mask * top_k_hits(logits, labels, 1)),
            TOP_5: tf.reduce_sum(mask * top_k_hits(logits, labels, 5)),
            _NOT_FINITE: tf.reduce_sum(tf.where(tf.reduce_all(tf.math.is_finite(logits), axis=1), 0.0, mask)),
        }

    @tf.function(autograph=False)
    def counts(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(replica_counts, args=(batch,))
        return {k: strategy.reduce(tf.distribute.ReduceOp.SUM, v, axis=None) for k, v in per_replica.items()}

    return counts


def evaluate_classifier(
    config: ExperimentConfig, state: TrainState, source: ImageSource, strategy: tf.distribute.Strategy
) -> dict[str, float]:
    """Top-1 and top-5 accuracy of the supervised head.

    Args:
        config: batch size, image size, and --eval_steps where only some batches are wanted.
        state: holds the model, and the variables of the regularisation loss.
        source: labelled evaluation split.
        strategy: devices.

    Returns:
        eval/label_top_1_accuracy and eval/label_top_5_accuracy in [0, 1], eval/regularization_loss and eval/examples.

    Raises:
        DivergedError: the network, or what it says of an image, is not finite.
    """
    require_finite_values(state.model.named_variables(), "the network")
    counts = build_eval_function(strategy, state.model)
    totals: dict[str, float] = {}
    for number, batch in enumerate(EvalLoader.of(config.data, strategy).batches(source)):
        if config.evaluation.eval_steps and number >= config.evaluation.eval_steps:
            break
        for name, value in counts(batch).items():
            totals[name] = totals.get(name, 0.0) + float(value)
    examples = totals["examples"]
    if totals[_NOT_FINITE]:
        raise DivergedError(
            f"the network gives logits that are not finite for {totals[_NOT_FINITE]:,.0f} of {examples:,.0f} images of "
            f"{source.split}. {REMEDY}"
        )
    return {
        TOP_1: totals[TOP_1] / examples,
        TOP_5: totals[TOP_5] / examples,
        "eval/regularization_loss": float(l2_penalty(state.penalized, config.optimizer.weight_decay)),
        "eval/examples": examples,
    }
