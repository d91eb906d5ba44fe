"""Networks for tests: small ones to compare number by number, and a run that was never run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.evaluate import load
from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.train import build
from tf_simclr.train.build import build_networks
from tf_simclr.train.checkpoint_store import CheckpointStore

# Flags of the smallest run with a projection head, for `write_run`.
TINY_RUN = {
    "dataset": "shapes",
    "image_size": 16,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
}


def small_networks(config, num_classes):
    """In place of `build_networks`: two convolutions with enough values per channel to keep float32 noise small.

    A narrow ResNet-18 is no such thing: 1e-7 on its first weights grows to differences of order 1 within 20 steps.
    """
    width = max(8, round(8 * config.model.width_multiplier))
    style = BlockStyle(norm=lambda **options: BatchNorm(global_moments=config.model.global_bn, **options))
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = norm_relu(conv(inputs, 6, 3, 1, "stem_conv", style), "stem", "", style)
    x = norm_relu(conv(x, width, 3, 2, "block_conv", style), "block", "", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head(config.model.proj_head_mode, width, 5, 2, style.norm)
    return SimCLRModel(encoder, head, heads.build_supervised_head(width, num_classes) if num_classes else None)


def write_run(directory, flags, step):
    """Leaves in a directory what a run of these flags does, with values that are nowhere as they were initialised."""
    config = build_config(flags)
    tf.keras.utils.set_random_seed(3)
    model = build_networks(config, num_classes=10)
    generator = tf.random.Generator.from_seed(2)
    for variable in model.named_variables().values():
        raw = compat.raw_variable(variable)
        raw.assign(raw + generator.uniform(raw.shape, 0.0, 0.1))
    CheckpointStore(str(directory), model.named_variables(), 2).save(step)
    (directory / "flags.json").write_text(json.dumps(config.to_flags()))
    return directory


@contextlib.contextmanager
def small_networks_everywhere() -> Iterator[None]:
    """`small_networks` in place of every ResNet: where nothing depends on the networks, which take long to trace."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, load):
            patch.setattr(module, "build_networks", small_networks)
        yield
