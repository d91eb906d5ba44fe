"""ResNet encoders f(x) as one flat functional Keras model with named endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.config.model import BASIC_DEPTHS, POOL_PADDINGS
from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.nn.blocks import (
    BlockStyle,
    NormBuilder,
    basic_block,
    bottleneck_block,
    conv,
    norm_relu,
)
from tf_simclr.nn.normalization import BatchNorm

BLOCKS_PER_GROUP = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
STEMS = ("imagenet", "cifar")
# Layers without variables that change what the others compute.
INPUT_NORMALIZATION, STEM_POOL_PAD = "input_normalization", "stem_pool_pad"
NUM_GROUPS = 4
STEM_WIDTH = 64
ENDPOINTS = (
    "initial_conv",
    "initial_max_pool",
    *(f"block_group{group}" for group in range(1, NUM_GROUPS + 1)),
    "final_avg_pool",
)


def scaled_width(filters: int, width_multiplier: float) -> int:
    """The filter count after the width multiplier: rounded, at least 1."""
    return max(1, round(filters * width_multiplier))


def _normalized(images: Any, mean: Sequence[float], std: Sequence[float]) -> Any:
    """(images - mean) / std of each channel, in float32; without a mean the images as they are.

    The convolutions after it pad with zeros, which then stand for the mean.
    """
    if not mean and not std:
        return images
    # NaN is above nothing.
    if not len(mean) == len(std) == 3 or not all(s > 0 for s in std) or not np.isfinite([*mean, *std]).all():
        raise InputError(
            "`input_mean` and `input_std` must be three numbers each, with a standard deviation above 0. Received: "
            f"input_mean={list(mean)}, input_std={list(std)}. Pass both, or neither"
        )
    scale = [1 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    return tf.keras.layers.Rescaling(scale, offset, name=INPUT_NORMALIZATION, dtype="float32")(images)


def _max_pool(x: Any, padding: str, style: BlockStyle) -> Any:
    """The stem's 3x3 max pool with stride 2: [b, h, w, c] -> [b, ceil(h / 2), ceil(w / 2), c] either way."""
    if padding == "symmetric":
        # Zeros never win over an image's values, which come from a ReLU.
        x = tf.keras.layers.ZeroPadding2D(1, name=STEM_POOL_PAD, dtype=style.dtype)(x)
    padding = "same" if padding == "same" else "valid"
    return tf.keras.layers.MaxPooling2D(3, strides=2, padding=padding, name="stem_pool", dtype=style.dtype)(x)


def _stem(images: Any, stem: str, width: int, pool_padding: str, style: BlockStyle) -> tuple[Any, Any]:
    """The layers before block group 1; returns the endpoints initial_conv (before norm) and initial_max_pool."""
    if stem == "cifar":
        initial_conv = conv(images, width, 3, 1, "stem_conv", style)
    elif style.sk_ratio > 0:
        # ResNet-D: three 3x3 convolutions in place of the 7x7.
        half = max(1, width // 2)
        x = norm_relu(conv(images, half, 3, 2, "stem_conv1", style), "stem", "1", style)
        x = norm_relu(conv(x, half, 3, 1, "stem_conv2", style), "stem", "2", style)
        initial_conv = conv(x, width, 3, 1, "stem_conv", style)
    else:
        initial_conv = conv(images, width, 7, 2, "stem_conv", style)
    x = norm_relu(initial_conv, "stem", "", style)
    if stem == "imagenet":
        x = _max_pool(x, pool_padding, style)
    return initial_conv, x


def _block_group(x: Any, depth: int, group: int, filters: int, identity_shortcut: bool, style: BlockStyle) -> Any:
    """The blocks of group 1..4; the first one projects and, from group 2 on, halves the resolution."""
    block = basic_block if depth in BASIC_DEPTHS else bottleneck_block
    for index in range(BLOCKS_PER_GROUP[depth][group - 1]):
        first = index == 0
        strides = 2 if first and group > 1 else 1
        project = first and not (identity_shortcut and group == 1)
        x = block(x, filters, strides, project, f"block_group{group}_block{index}", style)
    return x


def build_encoder(
    depth: int = 50,
    width_multiplier: float = 1,
    sk_ratio: float = 0.0,
    se_ratio: float = 0.0,
    stem: str = "imagenet",
    norm: NormBuilder = BatchNorm,
    dtype: Any = "float32",
    *,
    pool_padding: str = "same",
    identity_shortcut: bool = False,
    input_mean: Sequence[float] = (),
    input_std: Sequence[float] = (),
) -> tf.keras.Model:
    """Builds a post-activation ResNet with the stride on the 3x3 convolutions ("v1.5").

    Args:
        depth: 10, 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        width_multiplier: > 0, multiplies every filter count; fractions are rounded.
        sk_ratio: in [0, 1]; > 0 gives bottlenecks selective kernels, and every depth the ResNet-D stem and shortcuts.
        se_ratio: in [0, 1]; > 0 adds squeeze-and-excitation to every block.
        stem: "imagenet" (7x7 stride 2 and max pool) or "cifar" (3x3 stride 1, no pool).
        norm: builds a norm layer from name, dtype and BatchNorm's arguments.
        dtype: Keras dtype policy or its name, e.g. "mixed_bfloat16".
        pool_padding: of the imagenet stem's max pool: "same" (TensorFlow's) or "symmetric" (PyTorch's).
        identity_shortcut: whether the first block of group 1 adds its input as it is; depths 10, 18 and 34 only.
        input_mean: of the three channels, subtracted first; empty for none, with an empty input_std.
        input_std: of the three channels, each > 0, divided by after that.

    Returns:
        a functional model: images [b, h, w, 3] of any size -> dict with the keys ENDPOINTS: feature maps in the compute
        dtype and final_avg_pool, the representation h, float32 [b, c].

    Raises:
        InputError: an argument is out of its range.

    Source: SimCLR, section 2.2 and Appendix B; SimCLRv2, section 2 (SK).
    """
    require_choice("resnet_depth", depth, BLOCKS_PER_GROUP)
    require_choice("stem", stem, STEMS)
    require_range("width_multiplier", width_multiplier, above=0)
    require_range("sk_ratio", sk_ratio, at_least=0, at_most=1)
    require_range("se_ratio", se_ratio, at_least=0, at_most=1)
    require_choice("pool_padding", pool_padding, POOL_PADDINGS)
    if identity_shortcut:
        require_choice("resnet_depth", depth, BASIC_DEPTHS)
    style = BlockStyle(norm, dtype, sk_ratio, se_ratio)
    images = tf.keras.Input((None, None, 3), name="images")
    endpoints: dict[str, Any] = {}
    x = _normalized(images, input_mean, input_std)
    endpoints["initial_conv"], x = _stem(x, stem, scaled_width(STEM_WIDTH, width_multiplier), pool_padding, style)
    endpoints["initial_max_pool"] = x
    for group in range(1, NUM_GROUPS + 1):
        filters = scaled_width(STEM_WIDTH * 2 ** (group - 1), width_multiplier)
        x = endpoints[f"block_group{group}"] = _block_group(x, depth, group, filters, identity_shortcut, style)
    # Averaged in float32: h is what downstream tasks read, and losses want it exact.
    endpoints["final_avg_pool"] = tf.keras.layers.GlobalAveragePooling2D(name="final_avg_pool", dtype="float32")(x)
    return tf.keras.Model(images, endpoints, name="encoder")


def layer_group(layer_name: str) -> int:
    """The part of the encoder a layer belongs to: 0 = the stem, 1..4 = the block groups, 5 = what follows them."""
    for group in range(1, NUM_GROUPS + 1):
        if layer_name.startswith(f"block_group{group}_"):
            return group
    return NUM_GROUPS + 1 if layer_name == "final_avg_pool" else 0


def freeze_through(encoder: tf.keras.Model, block: int) -> None:
    """Freezes the encoder up to and including a block group and unfreezes the rest.

    A frozen layer has trainable=False, which also puts a BatchNorm into inference mode for good.

    Args:
        encoder: a model from `build_encoder`.
        block: -1 freezes nothing, 0 the stem (everything before block group 1), k the stem and groups 1..k; 4 freezes
            the whole encoder.

    Raises:
        InputError: block is not in -1..4.
    """
    require_choice("fine_tune_after_block", block, range(-1, NUM_GROUPS + 1))
    for layer in encoder.layers:
        layer.trainable = layer_group(layer.name) > block
