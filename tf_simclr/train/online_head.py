"""The linear classifier that is trained on h beside pretraining, with statistics and an update of its own.

h is an average after a ReLU: far from mean 0, and of a scale that moves by orders of magnitude while the encoder is
trained. A classifier on it that shares the encoder's rate, which LARS wants large, is thrown far off in the middle of a
run. This one sees every feature moved and scaled to mean 0 and variance 1, and has a rate that does not depend on the
encoder's optimizer.

What it trains is the plain dense layer of the model all the same. With running mean m and deviation s of h, a
classifier (V, c) of standardised features is the dense layer

    W = V / s,    b = c - m W

of h itself. Every step unfolds V and c from W and b, updates them, and folds them again with the statistics as they are
then. So `logits_sup`, checkpoints and exports hold a dense layer like any other.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.losses.supervised import accuracy, cross_entropy
from tf_simclr.nn.normalization import global_moments
from tf_simclr.ops import collectives
from tf_simclr.optim.lars import lars_update

# Images of a global batch that are shown to the head as evaluation sees them: so many, or a quarter of more.
PLAIN_IMAGES, PLAIN_PART = 128, 4
# The rate of standardised features, whose squared length is their number d, is RATE / d from FULL_BATCH images on: with
# fewer, a step on one of them changes its own logits more. It stays there until the last part of the run, since the
# encoder moves until the end, and then falls to 0. Chosen on one run of the quickstart.
RATE, FULL_BATCH, LAST_PART = 24.0, 128, 0.3
MOMENTUM = 0.9
# Share of the old statistics that a step keeps.
KEPT = 0.98
# Of a feature, at least this share of the mean variance: one that hardly ever fires would else weigh without bound.
LEAST_VARIANCE = 1e-4


def plain_images(batch_size: int) -> int:
    """How many images of a global batch the head sees: all up to PLAIN_IMAGES, then at least a quarter."""
    return max(min(batch_size, PLAIN_IMAGES), batch_size // PLAIN_PART)


def learning_rate(step: tf.Tensor, *, images: int, width: int, warmup_steps: int, train_steps: int) -> tf.Tensor:
    """The rate of a step on standardised features [images, width] of all replicas, float32 scalar."""
    done = tf.cast(step, tf.float32)
    rising = done / max(warmup_steps, 1) if warmup_steps else 1.0
    falling = (1.0 - done / train_steps) / LAST_PART
    return RATE / width * min(1.0, images / FULL_BATCH) * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)


def deviations(variance: tf.Tensor) -> tf.Tensor:
    """What features are divided by, float32 [d], from their variances [d]; ones where nothing varies."""
    mean = tf.reduce_mean(variance)
    return tf.where(mean > 0, tf.sqrt(tf.maximum(variance, LEAST_VARIANCE * mean)), tf.ones_like(variance))


def fold(kernel: tf.Tensor, bias: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The dense layer of h, (W [d, c], b [c]), from that of standardised features, (V, c)."""
    plain = kernel / deviation[:, tf.newaxis]
    return plain, bias - tf.linalg.matvec(plain, mean, transpose_a=True)


def unfold(kernel: tf.Tensor, bias: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What `fold` was given."""
    return kernel * deviation[:, tf.newaxis], bias + tf.linalg.matvec(kernel, mean, transpose_a=True)


class OnlineHead:
    """Trains a supervised head on features of the encoder; call inside the strategy's scope.

    Nothing of it reaches the encoder: it is given values of h and no tape of the encoder's.

    Args:
        head: from `build_supervised_head`: one dense layer.
        warmup_steps: of the run; the rate rises linearly in them.
        train_steps: of the run.
        weight_decay: l2 penalty of the kernel of standardised features, >= 0.
    """

    def __init__(self, head: tf.keras.Model, *, warmup_steps: int, train_steps: int, weight_decay: float = 0.0):
        (layer,) = (layer for layer in head.layers if isinstance(layer, tf.keras.layers.Dense))
        self._lengths = {"warmup_steps": warmup_steps, "train_steps": train_steps}
        self._weight_decay = weight_decay
        self._kernel, self._bias = layer.kernel, layer.bias
        width = layer.kernel.shape[0]

        def state(name: str, value: tf.Tensor) -> tf.Variable:
            # Every replica moves its own copy by the same amount.
            return tf.Variable(value, trainable=False, name=f"online_head_{name}")

        self._steps = state("steps", tf.zeros([], tf.int64))
        self._mean, self._variance = state("mean", tf.zeros([width])), state("variance", tf.ones([width]))
        self._velocities = (
            state("kernel_velocity", tf.zeros(layer.kernel.shape)),
            state("bias_velocity", tf.zeros(layer.bias.shape)),
        )

    def named_state(self) -> dict[str, Any]:
        """Path -> variable of what a resumed run needs beside the dense layer."""
        return {
            "online_head/steps": self._steps,
            "online_head/mean": self._mean,
            "online_head/variance": self._variance,
            "online_head/velocity/kernel": self._velocities[0],
            "online_head/velocity/bias": self._velocities[1],
        }

    def train(self, h: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step on a replica.

        Args:
            h: float [n, d], values of a training step; n is the same on all replicas.
            labels: int [n], -1 for none.

        Returns:
            float32 scalars before the update, of this replica, as summary tags: train/supervised_loss in nats and
            train/supervised_acc. The features are standardised by the batch, as in a batch norm.
        """
        h = tf.stop_gradient(tf.cast(h, tf.float32))
        old_mean, old_variance = tf.convert_to_tensor(self._mean), tf.convert_to_tensor(self._variance)
        dense = tf.convert_to_tensor(self._kernel), tf.convert_to_tensor(self._bias)
        parameters = unfold(*dense, old_mean, deviations(old_variance))
        mean, variance = global_moments(h, old_mean)
        features = (h - mean) / deviations(variance)  # [n, d]
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            logits = tf.matmul(features, parameters[0]) + parameters[1]  # [n, c]
            loss = cross_entropy(logits, labels)
        gradients = collectives.mean_over_replicas(tape.gradient(loss, parameters))
        images = h.shape[0] * collectives.replica_count()
        (kernel, bias), velocities = self._updated(parameters, gradients, images)
        steps = tf.cast(self._steps, tf.float32)
        # The first batches are all there is: their plain mean.
        kept = tf.minimum(KEPT, steps / (steps + 1.0))
        new_mean, new_variance = (kept * old_mean + (1 - kept) * mean, kept * old_variance + (1 - kept) * variance)
        folded = fold(kernel, bias, new_mean, deviations(new_variance))
        variables = (self._mean, self._variance, *self._velocities, self._kernel, self._bias)
        # As float16 may leave its range: such a step counts and changes nothing else. All of it is the same on every
        # replica.
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in (mean, variance, *gradients)])
        for variable, value in zip(variables, (new_mean, new_variance, *velocities, *folded), strict=True):
            compat.raw_variable(variable).assign(tf.where(finite, value, tf.convert_to_tensor(variable)))
        self._steps.assign(tf.convert_to_tensor(self._steps) + 1)
        return {"train/supervised_loss": loss, "train/supervised_acc": accuracy(logits, labels)}

    def _updated(
        self, parameters: tuple[tf.Tensor, ...], gradients: list[tf.Tensor], images: int
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The parameters of standardised features after a step of Nesterov SGD, and the velocities."""
        width = parameters[0].shape[0]
        rate = learning_rate(tf.convert_to_tensor(self._steps), images=images, width=width, **self._lengths)
        decays = (self._weight_decay, 0.0)
        pairs = [
            lars_update(
                parameter,
                gradient,
                tf.convert_to_tensor(slot),
                learning_rate=rate,
                momentum=MOMENTUM,
                weight_decay=decay,
                adapt=False,
                nesterov=True,
            )
            for parameter, gradient, slot, decay in zip(parameters, gradients, self._velocities, decays, strict=True)
        ]
        updated, velocities = zip(*pairs, strict=True)
        return list(updated), list(velocities)
