"""A training step of SimCLR written plainly, in float32: what a careful reader of the paper would write first.

A Keras ResNet whose batch norm is a mean and a variance, one tape, the whole similarity matrix (SimCLR, Algorithm 1),
a linear head behind a stop, and LARS variable by variable. It shares no code with the library.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BASIC = (10, 18, 34)
LARGE_NEGATIVE = 1e9
CLASSES = 10


class PlainBatchNorm(tf.keras.layers.Layer):
    """Batch norm of [n, ..., d] with moving statistics, from the textbook's formulas."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the four variables."""
        size = (shape[-1],)
        self.gamma = self.add_weight(shape=size, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=size, initializer="zeros", name="beta")
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=size, initializer="ones", trainable=False, name="variance")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises; while training by the batch, whose moments move the statistics."""
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance)
        return (x - mean) * tf.math.rsqrt(variance + 1e-5) * self.gamma + self.beta


def _conv(x: tf.Tensor, filters: int, side: int, strides: int = 1) -> tf.Tensor:
    x = tf.keras.layers.Conv2D(filters, side, strides, padding="same", use_bias=False)(x)
    return PlainBatchNorm()(x)


def _block(x: tf.Tensor, filters: int, strides: int, *, basic: bool, first: bool) -> tf.Tensor:
    relu = tf.keras.layers.ReLU
    width = filters if basic else 4 * filters
    shortcut = _conv(x, width, 1, strides) if first else x
    if basic:
        x = _conv(relu()(_conv(x, filters, 3, strides)), filters, 3)
    else:
        x = relu()(_conv(x, filters, 1))
        x = _conv(relu()(_conv(x, filters, 3, strides)), width, 1)
    return relu()(x + shortcut)


def plain_networks(depth: int, width: float, size: int, cifar_stem: bool) -> tuple[tf.keras.Model, ...]:
    """Encoder, projection head (3 layers to 128) and linear head, as Keras models."""
    images = tf.keras.Input((size, size, 3))
    x = _conv(images, round(64 * width), 3 if cifar_stem else 7, 1 if cifar_stem else 2)
    x = tf.keras.layers.ReLU()(x)
    if not cifar_stem:
        x = tf.keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    for group, blocks in enumerate(BLOCKS[depth]):
        for number in range(blocks):
            strides = 2 if group > 0 and number == 0 else 1
            x = _block(x, round(64 * 2**group * width), strides, basic=depth in BASIC, first=number == 0)
    encoder = tf.keras.Model(images, tf.keras.layers.GlobalAveragePooling2D()(x))
    features = tf.keras.Input((encoder.output_shape[-1],))
    z = features
    for out in (features.shape[-1], features.shape[-1], 128):
        z = PlainBatchNorm()(tf.keras.layers.Dense(out, use_bias=False)(z))
        z = tf.keras.layers.ReLU()(z) if out != 128 else z
    return encoder, tf.keras.Model(features, z), tf.keras.Model(features, tf.keras.layers.Dense(CLASSES)(features))


def plain_nt_xent(z_a: tf.Tensor, z_b: tf.Tensor, temperature: float) -> tf.Tensor:
    """NT-Xent (SimCLR, equation 1) from the whole matrices of similarities."""
    z_a, z_b = tf.math.l2_normalize(z_a, 1), tf.math.l2_normalize(z_b, 1)
    positives = tf.range(tf.shape(z_a)[0])
    itself = LARGE_NEGATIVE * tf.eye(tf.shape(z_a)[0])
    ab = tf.matmul(z_a, z_b, transpose_b=True) / temperature
    aa = tf.matmul(z_a, z_a, transpose_b=True) / temperature - itself
    bb = tf.matmul(z_b, z_b, transpose_b=True) / temperature - itself
    loss_a = tf.nn.sparse_softmax_cross_entropy_with_logits(positives, tf.concat([ab, aa], 1))
    loss_b = tf.nn.sparse_softmax_cross_entropy_with_logits(positives, tf.concat([tf.transpose(ab), bb], 1))
    return tf.reduce_mean(loss_a + loss_b) / 2


class PlainLars:
    """LARS (You et al. 2017) with momentum 0.9; kernels decay and adapt."""

    def __init__(self, variables: list[tf.Variable], rate: float):
        self._variables, self._rate = variables, rate
        self._momenta = [tf.Variable(tf.zeros(variable.shape)) for variable in variables]

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """One update of every variable."""
        for variable, gradient, momentum in zip(self._variables, gradients, self._momenta, strict=True):
            rate: float | tf.Tensor = self._rate
            if len(variable.shape) > 1:
                gradient = gradient + 1e-6 * variable
                norm, of_gradient = tf.norm(variable), tf.norm(gradient)
                rate = rate * tf.where((norm > 0) & (of_gradient > 0), 0.001 * norm / of_gradient, 1.0)
            momentum.assign(0.9 * momentum + rate * gradient)
            variable.assign_sub(momentum)


def build_plain_step(
    depth: int, width: float, size: int, *, cifar_stem: bool, temperature: float = 0.1
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """A compiled step: a batch with "views" (two of [n, size, size, 3]) and "label" [n] -> the loss."""
    networks = plain_networks(depth, width, size, cifar_stem)
    encoder, project, head = networks
    variables = [variable for network in networks for variable in network.trainable_variables]
    optimizer = PlainLars(variables, 0.1)

    @tf.function(autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            h = encoder(tf.concat(batch["views"], 0), training=True)
            z_a, z_b = tf.split(project(h, training=True), 2)
            labels = tf.concat([batch["label"]] * 2, 0)
            of_head = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head(tf.stop_gradient(h)))
            loss = plain_nt_xent(z_a, z_b, temperature) + tf.reduce_mean(of_head)
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step
