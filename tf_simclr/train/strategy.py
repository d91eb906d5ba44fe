"""Which devices a run uses, and how a global batch is divided over them."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.config import RuntimeConfig
from tf_simclr.errors import InputError


def build_strategy(runtime: RuntimeConfig) -> tuple[tf.distribute.Strategy, str]:
    """The tf.distribute strategy for this machine, and a sentence that says which and why.

    Raises:
        InputError: a TPU is asked for.
    """
    asked = {"use_tpu": runtime.use_tpu, "tpu_name": runtime.tpu_name, "master": runtime.master}
    for name, value in asked.items():
        if value:
            raise InputError(
                f"`{name}` asks for a TPU, which this version does not train on. Received: {name}={value}. "
                "Leave it out: one device, or all GPUs of the machine, are used"
            )
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy(), f"MirroredStrategy over {len(gpus)} GPUs"
    if gpus:
        return tf.distribute.OneDeviceStrategy("GPU:0"), "one GPU"
    return tf.distribute.OneDeviceStrategy("CPU:0"), "one CPU device (no GPU found)"


def per_replica_batch(name: str, global_batch: int, strategy: tf.distribute.Strategy) -> int:
    """A replica's share of a global batch.

    Raises:
        InputError: the batch does not divide: labels of a gathered loss need equal shares.
    """
    replicas = strategy.num_replicas_in_sync
    if global_batch % replicas:
        below = global_batch // replicas * replicas
        raise InputError(
            f"`{name}` must be a multiple of the {replicas} replicas. Received: {name}={global_batch}. "
            f"Pass --{name}={below or replicas} or --{name}={below + replicas}"
        )
    return global_batch // replicas
