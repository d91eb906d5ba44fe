"""Every test process sees four logical CPU devices, so that 1, 2 and 4 replicas can be compared inside it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

LOGICAL_DEVICES = 4

_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    _cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(LOGICAL_DEVICES)]
)


@pytest.fixture
def mirrored() -> Callable[[int], tf.distribute.MirroredStrategy]:
    """Builds a MirroredStrategy over the first n logical CPU devices.

    Collective groups are numbered from a base that all strategies of a process share, and a number cannot serve groups
    of two sizes: every strategy gets numbers of its own.
    """

    def build(replicas: int) -> tf.distribute.MirroredStrategy:
        tf.distribute.MirroredStrategy._collective_key_base += 1000
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])

    return build


TINY_FLAGS = (
    "--dataset=shapes",
    "--train_split=train[:48]",
    "--eval_split=test[:22]",
    "--image_size=16",
    "--train_batch_size=16",
    "--eval_batch_size=8",
    "--resnet_depth=18",
    "--width_multiplier=0.0625",
    "--num_proj_layers=2",
    "--proj_out_dim=16",
    "--use_blur=False",
    "--warmup_epochs=0",
    "--learning_rate=0.5",
    "--train_steps=4",
    "--checkpoint_steps=2",
)


@pytest.fixture(scope="session")
def tiny_flags() -> tuple[str, ...]:
    """Flags of a run on 48 small pictures that takes seconds: four steps of 16 pictures."""
    return TINY_FLAGS
