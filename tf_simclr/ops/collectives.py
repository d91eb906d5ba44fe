"""Collectives inside `strategy.run` that carry the gradient, and writes that communicate nothing."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def replica_context() -> tf.distribute.ReplicaContext | None:
    """The replica context when there is more than one replica, else None.

    None also in cross-replica context (evaluation, export), where there is nothing to exchange.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context


def replica_count() -> int:
    """Replicas that take part in the current computation."""
    context = replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_id() -> tf.Tensor | int:
    """This replica's number, int32 scalar; 0 on one replica."""
    context = replica_context()
    if context is None:
        return 0
    return tf.cast(context.replica_id_in_sync_group, tf.int32)


def gather_with_gradient(tensor: tf.Tensor) -> tf.Tensor:
    """Concatenates every replica's tensor along the first axis, in replica order, WITH gradient.

    The gradient that reaches this replica's part is the sum of what every replica's computation sends to it, so that
    negatives on other devices train the encoder too (SimCLR, Section 2.2).

    Args:
        tensor: [n, ...], the same static shape on every replica.

    Returns:
        [replicas * n, ...]; the tensor itself on one replica.
    """
    context = replica_context()
    if context is None:
        return tensor
    return context.all_gather(tensor, axis=0)


def write_own_copies(variables: list[Any], values: list[tf.Tensor]) -> None:
    """Assigns values to variables, every replica its own copy.

    In a replica `assign` would average the copies of some variables, which three replicas cannot without rounding.
    """

    def write(strategy: tf.distribute.Strategy, values: list[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable, lambda copy, new: copy.assign(new), args=(value,))

    context = tf.distribute.get_replica_context()
    context.merge_call(write, args=(values,))
