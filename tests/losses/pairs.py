"""What the tests of the contrastive losses share: views, anchors one by one in float64, and replicas."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def views(n, d=5, seed=0):
    """Two views float32 [2, n, d] that are alike enough for some anchors to find their positive, but not for all."""
    z, noise = np.random.default_rng(seed).normal(size=(2, n, d))
    return np.stack([z, z + 0.8 * noise]).astype(np.float32)


def mean_over_anchors(anchor_loss, z, norm):
    """Mean over the anchors of both views of anchor_loss(similarity to the positive, similarities to the negatives)."""
    z = np.asarray(z, np.float64)
    if norm:
        z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    losses = []
    for own, other in ((z[0], z[1]), (z[1], z[0])):
        for i, anchor in enumerate(own):
            similarities = [float(np.dot(anchor, candidate)) for candidate in other]
            positive = similarities.pop(i)
            losses.append(anchor_loss(positive, similarities))
    return np.mean(losses)


def mean_over_rows(anchor_loss, z, norm):
    """Mean over all 2n anchors of anchor_loss(similarities to all 2n, own place, place of the other view)."""
    z = np.concatenate(np.asarray(z, np.float64))
    if norm:
        z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    n = len(z) // 2
    losses = []
    for i, anchor in enumerate(z):
        similarities = [float(np.dot(anchor, candidate)) for candidate in z]
        losses.append(anchor_loss(similarities, i, (i + n) % (2 * n)))
    return np.mean(losses)


def semi_hard(positive, negatives, margin):
    """Of the negatives, those that are used: the most similar ones farther than the positive and within the margin."""
    picked = []
    for similarity in negatives:
        if not positive - margin < similarity < positive:
            continue
        if not picked or similarity > picked[0]:
            picked = [similarity]
        elif similarity == picked[0]:
            picked.append(similarity)
    return picked


def value_and_gradient(loss, z):
    """What loss(z[0], z[1]) returns for float [2, n, d], and the gradient of its first number."""
    z = tf.convert_to_tensor(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        out = loss(z[0], z[1])
    return out, tape.gradient(out.loss, z)


def finite_differences(function, z, step=1e-5):
    """The gradient of a float64 function of an array, number by number."""
    gradient = np.zeros(z.shape)
    for index in np.ndindex(z.shape):
        change = np.zeros(z.shape)
        change[index] = step
        gradient[index] = (function(z + change) - function(z - change)) / (2 * step)
    return gradient


def on_replicas(loss, z, strategy):
    """The means over replicas of what loss returns, and the gradient [2, n, d] of the mean loss; each has its share."""
    replicas = strategy.num_replicas_in_sync
    share = z.shape[1] // replicas

    def part(context):
        i = context.replica_id_in_sync_group
        return tf.constant(z[:, i * share : (i + 1) * share])

    @tf.function
    def run(local):
        def replica(z_local):
            with tf.GradientTape() as tape:
                tape.watch(z_local)
                out = loss(z_local[0], z_local[1])
                scaled = out.loss / replicas
            return out, tape.gradient(scaled, z_local)

        return strategy.run(replica, args=(local,))

    out, gradient = run(strategy.experimental_distribute_values_from_function(part))
    means = [float(strategy.reduce("MEAN", value, axis=None)) for value in out]
    return means, np.concatenate([g.numpy() for g in strategy.experimental_local_results(gradient)], axis=1)
