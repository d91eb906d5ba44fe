"""Residual blocks as functions on symbolic tensors: every layer is named and lands at the top level of one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

layers = tf.keras.layers

NormBuilder = Callable[..., tf.keras.layers.Layer]  # called with name=, dtype= and BatchNorm's arguments

SK_MIN_WIDTH = 32


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of an encoder share.

    Args:
        norm: builds a norm layer from name, dtype and optionally gamma_initializer.
        dtype: Keras dtype policy or its name.
        sk_ratio: > 0 turns on selective kernels and the ResNet-D shortcut.
        se_ratio: > 0 turns on squeeze-and-excitation.
    """

    norm: NormBuilder
    dtype: Any = "float32"
    sk_ratio: float = 0.0
    se_ratio: float = 0.0


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class MeanOfHalvesSum(tf.keras.layers.Layer):
    """Sums the two halves of the channels and averages over space: [b, h, w, 2 f] -> [b, 1, 1, f]."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The mean is taken in float32, since a bfloat16 sum over a large map would lose it."""
        means = tf.reduce_mean(tf.cast(inputs, tf.float32), axis=(1, 2), keepdims=True)
        first, second = tf.split(means, 2, axis=-1)
        return tf.cast(first + second, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[b, 1, 1, f]."""
        return (input_shape[0], 1, 1, input_shape[-1] // 2)


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class SelectHalves(tf.keras.layers.Layer):
    """Mixes the two halves of the channels by a softmax: ([b, h, w, 2 f], logits [b, 1, 1, 2 f]) -> [b, h, w, f]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """A softmax over two logits is the sigmoid of their difference."""
        features, logits = inputs
        first, second = tf.split(features, 2, axis=-1)
        first_logits, second_logits = tf.split(logits, 2, axis=-1)
        weight = tf.sigmoid(first_logits - second_logits)
        return weight * first + (1 - weight) * second

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[b, h, w, f]."""
        batch, height, width, channels = input_shape[0]
        return (batch, height, width, channels // 2)


def pad_for_stride(x: Any, kernel_size: int, name: str, style: BlockStyle) -> Any:
    """Zero padding of kernel_size - 1, split evenly, which unlike "same" does not depend on the input's size."""
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    if after == 0:
        return x
    sides = ((before, after), (before, after))
    return layers.ZeroPadding2D(sides, name=name, dtype=style.dtype)(x)


def conv(
    x: Any,
    filters: int,
    kernel_size: int,
    strides: int,
    name: str,
    style: BlockStyle,
    use_bias: bool = False,
) -> Any:
    """A convolution [b, h, w, c] -> [b, ceil(h / strides), ceil(w / strides), filters], fixed padding if strided."""
    if strides > 1 and kernel_size == 1:
        # The same numbers in two steps. The filter gradient of a strided 1x1 convolution with few channels and an odd
        # batch writes outside its buffer in oneDNN (TensorFlow 2.15.1 and 2.21, AVX512): [3, 16, 16, 4], stride 2.
        x = layers.AveragePooling2D(1, strides=strides, name=f"{name}_subsample", dtype=style.dtype)(x)
        strides = 1
    if strides > 1:
        x = pad_for_stride(x, kernel_size, f"{name}_pad", style)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=use_bias,
        kernel_initializer=tf.keras.initializers.VarianceScaling(),
        name=name,
        dtype=style.dtype,
    )(x)


def relu(x: Any, name: str, style: BlockStyle) -> Any:
    """A named ReLU."""
    return layers.Activation("relu", name=name, dtype=style.dtype)(x)


def norm_relu(x: Any, name: str, number: str, style: BlockStyle) -> Any:
    """Norm "<name>_norm<number>" and ReLU "<name>_relu<number>"."""
    x = style.norm(name=f"{name}_norm{number}", dtype=style.dtype)(x)
    return relu(x, f"{name}_relu{number}", style)


def selective_kernel(x: Any, filters: int, strides: int, name: str, style: BlockStyle) -> Any:
    """Two 3x3 branches mixed by channel attention, in place of a 3x3 convolution, norm and ReLU.

    Source: Li et al. 2019; SimCLRv2, section 2 (both branches have 3x3 kernels).
    """
    branches = conv(x, 2 * filters, 3, strides, f"{name}_conv2", style)
    branches = norm_relu(branches, name, "2", style)
    attention = MeanOfHalvesSum(name=f"{name}_sk_pool", dtype=style.dtype)(branches)
    width = max(int(filters * style.sk_ratio), SK_MIN_WIDTH)
    attention = conv(attention, width, 1, 1, f"{name}_sk_conv1", style)
    attention = norm_relu(attention, f"{name}_sk", "1", style)
    attention = conv(attention, 2 * filters, 1, 1, f"{name}_sk_conv2", style)
    return SelectHalves(name=f"{name}_sk_select", dtype=style.dtype)([branches, attention])


def squeeze_excite(x: Any, filters: int, name: str, style: BlockStyle) -> Any:
    """Scales the channels by gates computed from their global averages (Hu et al. 2018).

    `filters` is the block's inner width, from which the authors of SimCLR derive the squeezed width.
    """
    channels = x.shape[-1]
    # In float32: the sum over a large map leaves float16's range.
    gates = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool", dtype="float32")(x)
    width = max(1, int(filters * style.se_ratio))
    gates = conv(gates, width, 1, 1, f"{name}_se_reduce", style, use_bias=True)
    gates = relu(gates, f"{name}_se_relu", style)
    gates = conv(gates, channels, 1, 1, f"{name}_se_expand", style, use_bias=True)
    gates = layers.Activation("sigmoid", name=f"{name}_se_gate", dtype=style.dtype)(gates)
    return layers.Multiply(name=f"{name}_se_scale", dtype=style.dtype)([x, gates])


def projection_shortcut(x: Any, filters: int, strides: int, name: str, style: BlockStyle) -> Any:
    """The shortcut that changes shape: a strided 1x1 convolution, or with SK (ResNet-D) an average pool before it."""
    if style.sk_ratio > 0:
        if strides > 1:
            x = pad_for_stride(x, 2, f"{name}_shortcut_pad", style)
        x = layers.AveragePooling2D(
            2,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            name=f"{name}_shortcut_pool",
            dtype=style.dtype,
        )(x)
        strides = 1
    x = conv(x, filters, 1, strides, f"{name}_shortcut_conv", style)
    return style.norm(name=f"{name}_shortcut_norm", dtype=style.dtype)(x)


def _merge(x: Any, branch: Any, filters: int, name: str, number: str, style: BlockStyle) -> Any:
    """Last norm of the branch, squeeze-and-excitation, addition and ReLU."""
    # A zero scale makes the block start as its shortcut.
    branch = style.norm(name=f"{name}_norm{number}", dtype=style.dtype, gamma_initializer="zeros")(branch)
    if style.se_ratio > 0:
        branch = squeeze_excite(branch, filters, name, style)
    x = layers.Add(name=f"{name}_add", dtype=style.dtype)([x, branch])
    return relu(x, f"{name}_out", style)


def basic_block(x: Any, filters: int, strides: int, project: bool, name: str, style: BlockStyle) -> Any:
    """Two 3x3 convolutions beside a shortcut: [b, h, w, c] -> [b, ceil(h / strides), ceil(w / strides), filters].

    Args:
        x: symbolic input.
        filters: width of the block and of its output.
        strides: of the first convolution and of the shortcut.
        project: whether the shortcut is a convolution.
        name: prefix of every layer's name.
        style: shared options; sk_ratio only changes the shortcut here.

    Source: He et al. 2015; zero-initialised last scale as in Goyal et al. 2017.
    """
    shortcut = projection_shortcut(x, filters, strides, name, style) if project else x
    x = norm_relu(conv(x, filters, 3, strides, f"{name}_conv1", style), name, "1", style)
    x = conv(x, filters, 3, 1, f"{name}_conv2", style)
    return _merge(shortcut, x, filters, name, "2", style)


def bottleneck_block(x: Any, filters: int, strides: int, project: bool, name: str, style: BlockStyle) -> Any:
    """1x1, 3x3 (strided), 1x1 convolutions beside a shortcut; arguments as `basic_block`, output width 4 * filters."""
    shortcut = projection_shortcut(x, 4 * filters, strides, name, style) if project else x
    x = norm_relu(conv(x, filters, 1, 1, f"{name}_conv1", style), name, "1", style)
    if style.sk_ratio > 0:
        x = selective_kernel(x, filters, strides, name, style)
    else:
        x = norm_relu(conv(x, filters, 3, strides, f"{name}_conv2", style), name, "2", style)
    x = conv(x, 4 * filters, 1, 1, f"{name}_conv3", style)
    return _merge(shortcut, x, filters, name, "3", style)
