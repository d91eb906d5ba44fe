"""Networks for tests that compare training runs number by number."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import BatchNorm


def small_networks(config, num_classes):
    """In place of `build_networks`: two convolutions with enough values per channel to keep float32 noise small.

    A narrow ResNet-18 is no such thing: 1e-7 on its first weights grows to differences of order 1 within 20 steps.
    """
    style = BlockStyle(norm=lambda **options: BatchNorm(global_moments=config.model.global_bn, **options))
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = norm_relu(conv(inputs, 6, 3, 1, "stem_conv", style), "stem", "", style)
    x = norm_relu(conv(x, 8, 3, 2, "block_conv", style), "block", "", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head(config.model.proj_head_mode, 8, 5, 2, style.norm)
    return SimCLRModel(encoder, head, heads.build_supervised_head(8, num_classes))
