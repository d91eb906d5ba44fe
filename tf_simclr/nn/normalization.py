"""Batch norm whose moments are those of the global batch, whatever number of replicas shares it.

With moments per replica a positive pair betrays itself by the statistics it was normalised with, so SimCLR aggregates
mean and variance over all replicas (SimCLR, section 2.2).

Keras's BatchNormalization(synchronized=True) reduces sums, squares and counts one after the other, and takes
E[x^2] - E[x]^2 in float32, which cancels where means are large. It cannot use the fused kernel where one replica has
the whole batch, and has no way to leave the moving statistics alone while it normalises by the batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError, require_range
from tf_simclr.ops import collectives

FUSED_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


class _FreezeDepth:
    depth = 0


class _ReplicaFreezeDepth(threading.local):
    depth = 0


_frozen_everywhere = _FreezeDepth()
# Replicas of a MirroredStrategy are traced by threads that take turns: one may have left the context while another is
# still inside, so a count shared between them would be wrong for both.
_frozen_in_replica = _ReplicaFreezeDepth()


@contextlib.contextmanager
def frozen_statistics() -> Iterator[None]:
    """Training-mode batch norms called inside normalise by the batch but leave their moving statistics alone.

    It acts while Python runs, so for a tf.function it is what holds at trace time. Enter it inside the replica
    function or around `strategy.run`.
    """
    inside_replica = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
    scope = _frozen_in_replica if inside_replica else _frozen_everywhere
    scope.depth += 1
    try:
        yield
    finally:
        scope.depth -= 1


def statistics_are_frozen() -> bool:
    """Whether the caller is inside `frozen_statistics`."""
    return _frozen_everywhere.depth + _frozen_in_replica.depth > 0


def _moments(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance [c] of float32 [..., c] over all axes but the last."""
    return tf.nn.moments(inputs, axes=list(range(inputs.shape.rank - 1)))


def global_moments(inputs: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance [c] over the equal batches of all replicas.

    Args:
        inputs: float32 [..., c], the same static shape on every replica.
        shift: float32 [c], the same on every replica, best close to the mean: with several replicas it is subtracted
            first, lest large means cancel.
    """
    context = collectives.replica_context()
    return _moments(inputs) if context is None else _moments_over_replicas(context, inputs, shift)


def _moments_over_replicas(
    context: tf.distribute.ReplicaContext, inputs: tf.Tensor, shift: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance [c] over the equal batches of all replicas, differentiable, in one all-reduce.

    Var = E[var_i + d_i^2] - E[d_i]^2 with d_i = mean_i - shift holds for every shift common to the replicas; the moving
    mean is one, and close enough to the mean for the subtraction not to cancel.
    """
    local_mean, local_variance = _moments(inputs)
    distance = local_mean - tf.stop_gradient(shift)
    statistics = tf.stack([distance, local_variance + tf.square(distance)])  # [2, c]
    distance, second_moment = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, statistics), num=2)
    variance = tf.maximum(second_moment - tf.square(distance), 0.0)
    return shift + distance, variance


def _normalize(
    inputs: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Applies statistics and affine parameters [c] to float32 [..., c]; subtracts first, lest large means cancel."""
    return (inputs - mean) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta


def _fused_training(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises [b, h, w, c] by its moments with TensorFlow's fused kernel; returns outputs, mean, biased variance.

    The raw op and not tf.compat.v1.nn.fused_batch_norm, which raises epsilon to 1.001e-5 and then disagrees with the
    moments of several replicas.
    """
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    # The kernel normalises by the biased variance but returns the unbiased one, which is undefined for one value.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
    biased = tf.where(count > 1.0, variance * (count - 1.0) / count, tf.zeros_like(variance))
    return outputs, mean, biased


def _fused_inference(
    inputs: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Normalises [b, h, w, c] by given statistics with the fused kernel."""
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class BatchNorm(tf.keras.layers.Layer):
    """Batch normalisation over every axis but the last, with moments of the global batch.

    The biased variance serves both the normalisation and the moving variance, so that one replica with the whole batch
    and many with a share each keep the same statistics. Weights, moments and moving statistics are float32 under every
    policy. With `trainable=False`, or outside training, the moving statistics normalise and nothing is updated.

    Args:
        momentum: share of the old moving statistics kept by an update, in [0, 1].
        epsilon: added to the variance, > 0.
        center: whether there is an offset beta.
        scale: whether there is a scale gamma.
        gamma_initializer: initializer of gamma; "zeros" for the last norm of a residual branch.
        global_moments: moments over all replicas; False takes each replica's own.
        **kwargs: name, dtype, trainable, as in every Keras layer.

    Raises:
        InputError: momentum or epsilon out of range, or inputs without a static number of channels.

    Example:
        import tensorflow as tf
        import tf_simclr

        norm = tf_simclr.layers.GlobalBatchNorm(momentum=0.9)
        outputs = norm(tf.random.normal([64, 3], mean=5.0), training=True)
        assert abs(float(tf.reduce_mean(outputs))) < 1e-4

    Source: Ioffe and Szegedy 2015; SimCLR, section 2.2 (global batch norm).
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        gamma_initializer: Any = "ones",
        global_moments: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_range("momentum", momentum, at_least=0.0, at_most=1.0)
        require_range("epsilon", epsilon, above=0.0)
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = tf.keras.initializers.get(gamma_initializer)
        self.global_moments = global_moments

    def build(self, input_shape: Any) -> None:
        """Creates gamma, beta, moving_mean, moving_variance, each float32 [channels]."""
        channels = input_shape[-1]
        if channels is None:
            raise InputError(
                f"BatchNorm needs a known number of channels. Received: inputs of shape {input_shape}; "
                "set the last dimension of the input"
            )

        def add(name: str, initializer: Any, **options: bool) -> Any:
            return compat.add_float32_weight(self, name=name, shape=(channels,), initializer=initializer, **options)

        self.gamma = add("gamma", self.gamma_initializer) if self.scale else None
        self.beta = add("beta", "zeros") if self.center else None
        # Global moments are the same in every replica, which can then update its copy without communication.
        moving = {"trainable": False, "averaged_over_replicas": not self.global_moments}
        self.moving_mean = add("moving_mean", "zeros", **moving)
        self.moving_variance = add("moving_variance", "ones", **moving)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalises [..., c]; returns the same shape in the compute dtype."""
        moving_mean = tf.convert_to_tensor(self.moving_mean)
        moving_variance = tf.convert_to_tensor(self.moving_variance)
        affine = (
            tf.ones_like(moving_mean) if self.gamma is None else tf.convert_to_tensor(self.gamma),
            tf.zeros_like(moving_mean) if self.beta is None else tf.convert_to_tensor(self.beta),
        )
        fusible = inputs.shape.rank == 4 and inputs.dtype in FUSED_DTYPES
        if not (training and self.trainable):
            apply = _fused_inference if fusible else self._normalize_in_float32
            return apply(inputs, moving_mean, moving_variance, *affine, self.epsilon)
        replicas = collectives.replica_context() if self.global_moments else None
        if replicas is None and fusible:
            outputs, mean, variance = _fused_training(inputs, *affine, self.epsilon)
        else:
            in_float32 = tf.cast(inputs, tf.float32)
            mean, variance = (
                _moments(in_float32) if replicas is None else _moments_over_replicas(replicas, in_float32, moving_mean)
            )
            outputs = self._normalize_in_float32(inputs, mean, variance, *affine, self.epsilon)
        if not statistics_are_frozen():
            self._move(self.moving_mean, moving_mean, mean)
            self._move(self.moving_variance, moving_variance, variance)
        return outputs

    def _normalize_in_float32(self, inputs: tf.Tensor, *arguments: Any) -> tf.Tensor:
        return tf.cast(_normalize(tf.cast(inputs, tf.float32), *arguments), inputs.dtype)

    def _move(self, variable: Any, old: tf.Tensor, batch: tf.Tensor) -> None:
        variable.assign(self.momentum * old + (1.0 - self.momentum) * tf.stop_gradient(batch))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": tf.keras.initializers.serialize(self.gamma_initializer),
            "global_moments": self.global_moments,
        }
