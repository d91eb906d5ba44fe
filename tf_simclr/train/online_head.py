"""The linear classifier that is trained on h beside pretraining, with statistics and an update of its own.

h is an average after a ReLU: far from mean 0, and of a scale that moves by orders of magnitude while the encoder is
trained. A classifier on it that shares the encoder's rate, which LARS wants large, is thrown far off in the middle of a
run. This one sees every feature moved and scaled to mean 0 and variance 1, and has a rate that does not depend on the
encoder's optimizer. Its features are still strongly correlated, and plain SGD needs many epochs for their weaker
directions. So a step divides the gradient by the covariance of the batch's features, which is damped.

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
from tf_simclr.ops import collectives
from tf_simclr.optim.lars import lars_update

# Images of a global batch that are shown to the head as evaluation sees them: so many, or a quarter of more.
PLAIN_IMAGES, PLAIN_PART = 128, 4
# The rate of preconditioned gradients, for at least as many images as features; see `trust`. It stays there until the
# last part of the run, since the encoder moves until the end, and then falls to 0. Chosen on the validation split of
# the quickstart, seed 0.
RATE, LAST_PART = 0.3, 0.3
MOMENTUM = 0.9
# Added to the covariance of standardised features, whose mean variance is 1, for at least as many images as features.
DAMPING = 0.3
# Share of the old statistics that a step keeps.
KEPT = 0.98
# Of a feature, at least this share of the mean variance: one that hardly ever fires would else weigh without bound.
LEAST_VARIANCE = 1e-4


def plain_images(batch_size: Any) -> Any:
    """How many images of a global batch the head sees: all up to PLAIN_IMAGES, then at least a quarter.

    Args:
        batch_size: an int, or an int32 scalar where the size is not known before the step.

    Returns:
        the same kind of number.
    """
    smaller, larger = (min, max) if isinstance(batch_size, int) else (tf.minimum, tf.maximum)
    return larger(smaller(batch_size, PLAIN_IMAGES), batch_size // PLAIN_PART)


def share_of_plain(batch_size: Any, share: Any) -> Any:
    """How many of them are of a replica with `share` images of the global batch, rounded up; numbers as above."""
    return -(-plain_images(batch_size) * share // batch_size)


def learning_rate(step: tf.Tensor, *, trusted: tf.Tensor, warmup_steps: int, train_steps: int | None) -> tf.Tensor:
    """The rate of a step on a batch of this `trust`, float32 scalar.

    `train_steps` None is for a training of unknown length: after the warm-up the rate stays.
    """
    done = tf.cast(step, tf.float32)
    rising = done / max(warmup_steps, 1) if warmup_steps else 1.0
    falling = 1.0 if train_steps is None else (1.0 - done / train_steps) / LAST_PART
    return RATE * tf.sqrt(trusted) * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)


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


def trust(features: tf.Tensor) -> tf.Tensor:
    """How far the covariance of a batch [n, d] is that of all images: min(1, n / d), float32 scalar.

    With fewer images than features every batch can be fitted by itself, noise and all.
    """
    return tf.minimum(1.0, tf.cast(tf.shape(features)[0], tf.float32) / features.shape[1])


def precondition(gradient: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """The gradient over the damped covariance of features: (X^T X / n + DAMPING / trust I)^-1 G.

    Where there are more features than images, or it is not known, the inverse is that of an [n, n] matrix, by
    Woodbury's identity, and else of a [d, d] one.

    Args:
        gradient: float32 G [d, c].
        features: finite float32 X [n, d], of mean 0 over the batch.

    Returns:
        float32 [d, c].
    """
    images, width = features.shape
    damping, n = DAMPING / trust(features), tf.cast(tf.shape(features)[0], tf.float32)

    def damped_root(products: tf.Tensor) -> tf.Tensor:
        return tf.linalg.cholesky(products / n + damping * tf.eye(tf.shape(products)[0]))

    if images is not None and images > width:
        return tf.linalg.cholesky_solve(damped_root(tf.matmul(features, features, transpose_a=True)), gradient)
    root = damped_root(tf.matmul(features, features, transpose_b=True))
    inner = tf.linalg.cholesky_solve(root, tf.matmul(features, gradient)) / n
    return (gradient - tf.matmul(features, inner, transpose_a=True)) / damping


def _dense(head: tf.keras.Model) -> tf.keras.layers.Dense:
    (layer,) = (layer for layer in head.layers if isinstance(layer, tf.keras.layers.Dense))
    return layer


class HeadState(tf.keras.layers.Layer):
    """What an online head keeps beside its dense layer. It is a Keras layer so that a model that has it saves it.

    Every replica moves its own copy by the same amount.

    Args:
        head: as for `OnlineHead`.
    """

    def __init__(self, head: tf.keras.Model):
        super().__init__(name="online_head", trainable=False, dtype="float32")
        dense = _dense(head)
        width = (dense.kernel.shape[0],)

        def zeros(name: str, shape: tuple[int, ...]) -> Any:
            return compat.add_float32_weight(self, name=name, shape=shape, initializer="zeros", trainable=False)

        self.steps = compat.add_counter(self, "steps")
        self.mean = zeros("mean", width)
        self.variance = compat.add_float32_weight(
            self, name="variance", shape=width, initializer="ones", trainable=False
        )
        self.kernel_velocity = zeros("kernel_velocity", tuple(dense.kernel.shape))
        self.bias_velocity = zeros("bias_velocity", tuple(dense.bias.shape))
        self.built = True

    def named(self) -> dict[str, Any]:
        """Path -> variable of what a resumed run needs beside the dense layer."""
        return {
            "online_head/steps": self.steps,
            "online_head/mean": self.mean,
            "online_head/variance": self.variance,
            "online_head/velocity/kernel": self.kernel_velocity,
            "online_head/velocity/bias": self.bias_velocity,
        }

    def restart(self) -> None:
        """Begins a new training. The statistics stay: the dense layer was folded with them."""
        for variable in (self.steps, self.kernel_velocity, self.bias_velocity):
            raw = compat.raw_variable(variable)
            raw.assign(tf.zeros(raw.shape, raw.dtype))


class OnlineHead:
    """Trains a supervised head on features of the encoder; call inside the strategy's scope.

    Nothing of it reaches the encoder: it is given values of h and no tape of the encoder's.

    Args:
        head: from `build_supervised_head`: one dense layer.
        warmup_steps: of the run; the rate rises linearly in them.
        train_steps: of the run; None where nobody knows, for a rate that stays after the warm-up.
        weight_decay: l2 penalty of the kernel of standardised features, >= 0.
        state: of this head; None for a new one.
    """

    def __init__(
        self,
        head: tf.keras.Model,
        *,
        warmup_steps: int,
        train_steps: int | None,
        weight_decay: float = 0.0,
        state: HeadState | None = None,
    ):
        self._lengths: dict[str, Any] = {"warmup_steps": warmup_steps, "train_steps": train_steps}
        self._weight_decay = weight_decay
        self._kernel, self._bias = _dense(head).kernel, _dense(head).bias
        state = HeadState(head) if state is None else state
        self._named = state.named()
        raw = compat.raw_variable
        self._steps, self._mean, self._variance = raw(state.steps), raw(state.mean), raw(state.variance)
        self._velocities = raw(state.kernel_velocity), raw(state.bias_velocity)

    def named_state(self) -> dict[str, Any]:
        """As of its state."""
        return self._named

    def train(self, h: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step on a replica.

        Args:
            h: float [n, d], values of a training step; n, known or not, is the same on all replicas.
            labels: int [n], -1 for none.

        Returns:
            float32 scalars before the update, of the images of all replicas, as summary tags: train/supervised_loss in
            nats and train/supervised_acc. The features are standardised by the batch, as in a batch norm.
        """
        # Every replica computes the whole update: the features of a few images are less than a gradient to exchange.
        known = None if h.shape[0] is None else h.shape[0] * collectives.replica_count()
        h = collectives.gather_with_gradient(tf.stop_gradient(tf.cast(h, tf.float32)))
        h = tf.ensure_shape(h, [known, self._kernel.shape[0]])
        labels = collectives.gather_with_gradient(labels)
        old_mean, old_variance = tf.convert_to_tensor(self._mean), tf.convert_to_tensor(self._variance)
        dense = tf.convert_to_tensor(self._kernel), tf.convert_to_tensor(self._bias)
        parameters = unfold(*dense, old_mean, deviations(old_variance))
        mean, variance = tf.nn.moments(h, axes=[0])
        features = (h - mean) / deviations(variance)  # [n, d], n of all replicas
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            logits = tf.matmul(features, parameters[0]) + parameters[1]  # [n, c]
            loss = cross_entropy(logits, labels)
        gradients = tape.gradient(loss, parameters)
        # As float16 may leave its range: such a step counts and changes nothing else.
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in (mean, variance, *gradients)])
        # On the CPU a Cholesky decomposition of what is not finite would be an error.
        features = tf.where(finite, features, tf.zeros_like(features))
        (kernel, bias), velocities = self._updated(parameters, gradients, features)
        steps = tf.cast(self._steps, tf.float32)
        # The first batches are all there is: their plain mean.
        kept = tf.minimum(KEPT, steps / (steps + 1.0))
        new_mean, new_variance = (kept * old_mean + (1 - kept) * mean, kept * old_variance + (1 - kept) * variance)
        folded = fold(kernel, bias, new_mean, deviations(new_variance))
        variables = (self._mean, self._variance, *self._velocities, self._kernel, self._bias)
        for variable, value in zip(variables, (new_mean, new_variance, *velocities, *folded), strict=True):
            compat.raw_variable(variable).assign(tf.where(finite, value, tf.convert_to_tensor(variable)))
        self._steps.assign(tf.convert_to_tensor(self._steps) + 1)
        return {"train/supervised_loss": loss, "train/supervised_acc": accuracy(logits, labels)}

    def _updated(
        self, parameters: tuple[tf.Tensor, ...], gradients: list[tf.Tensor], features: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The parameters of standardised features after a step of Nesterov SGD, and the velocities."""
        rate = learning_rate(tf.convert_to_tensor(self._steps), trusted=trust(features), **self._lengths)
        kernel_gradient = gradients[0] + self._weight_decay * parameters[0]
        directions = (precondition(kernel_gradient, features), gradients[1])
        pairs = [
            lars_update(
                parameter,
                direction,
                tf.convert_to_tensor(slot),
                learning_rate=rate,
                momentum=MOMENTUM,
                weight_decay=0.0,
                adapt=False,
                nesterov=True,
            )
            for parameter, direction, slot in zip(parameters, directions, self._velocities, strict=True)
        ]
        updated, velocities = zip(*pairs, strict=True)
        return list(updated), list(velocities)
