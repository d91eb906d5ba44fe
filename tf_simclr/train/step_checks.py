"""Whether the step of a run can work on the devices it got."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.train.device_views import choose_place
from tf_simclr.train.strategy import per_replica_batch

# Strategies under which a step communicates, or may, even where they have one replica only.
REPLICATING = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy, tf.distribute.TPUStrategy)


def check_step(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> None:
    """Checks what the step takes against its devices; `build_train_state` does so too, but later in a run.

    Raises:
        InputError: micro-batches larger than a replica's batch, a compiled step on replicas, or views on a device that
            cannot make them.
    """
    share = per_replica_batch("train_batch_size", config.data.train_batch_size, strategy)
    micro = config.train.micro_batch_size
    if micro > share:
        raise InputError(
            f"`micro_batch_size` must be at most a replica's share of the batch, here {share}. Received: "
            f"micro_batch_size={micro}. Pass --micro_batch_size={share} or less, or 0 for none"
        )
    # Replicas communicate through Python while they are traced, which a compiled function does not let them do.
    if config.runtime.jit_compile and isinstance(strategy, REPLICATING):
        raise InputError(
            f"`jit_compile` must be False with {type(strategy).__name__}: a step compiles on one device only. "
            f"Received: jit_compile=True on {strategy.num_replicas_in_sync} replicas. Leave it out, or use one device"
        )
    choose_place(config, strategy)
