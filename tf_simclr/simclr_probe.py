"""How SimCLR trains its probe: by the online head of `run.py`, on images as evaluation sees them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import eval_crop_for
from tf_simclr.ops import collectives
from tf_simclr.ops.image import central_box, crops
from tf_simclr.optim.schedules import WarmupCosine
from tf_simclr.simclr_batches import Batch
from tf_simclr.train.online_head import HeadState, OnlineHead, share_of_plain


def probe_trainer(probe: tf.keras.Model, state: HeadState, optimizer: Any, weight_decay: float) -> OnlineHead:
    """What trains a probe beside an encoder; an optimizer without steps begins a new training.

    Args:
        probe: from `build_supervised_head`.
        state: of this probe.
        optimizer: of the encoder. A WarmupCosine gives the probe's rate its lengths; else that rate is constant.
        weight_decay: of the probe, >= 0.
    """
    if int(optimizer.iterations.numpy()) == 0:
        state.restart()
    schedule = compat.learning_rate_schedule(optimizer)
    known = isinstance(schedule, WarmupCosine)
    return OnlineHead(
        probe,
        warmup_steps=schedule.warmup_steps if known else 0,
        train_steps=schedule.total_steps if known else None,
        weight_decay=weight_decay,
        state=state,
    )


def evaluation_views(images: tf.Tensor, image_size: int, eval_crop: float) -> tf.Tensor:
    """`data.pipeline.evaluation_view` of a batch, by matrices as the augmentation.

    Args:
        images: float32 [n, h, w, 3] in [0, 1]; n, h and w need not be known.
        image_size: side s of the result.
        eval_crop: in (0, 1], as there.

    Returns:
        float32 [n, s, s, 3] in [0, 1].
    """
    size = (image_size, image_size)
    if eval_crop == 1 and tuple(images.shape[1:3]) == size:
        return images
    _, height, width, _ = tf.unstack(tf.shape(images))
    box = central_box(images, size, eval_crop) if eval_crop < 1 else tf.stack([0, 0, height, width])
    return crops(images, tf.tile(box[tf.newaxis, tf.newaxis], [tf.shape(images)[0], 1, 1]), size)[:, 0]


def plain_of(batch: Batch, augmentation: Any) -> dict[str, tf.Tensor]:
    """What evaluation sees of the first images of a replica's batch, as "plain"; nothing where only views are known."""
    if batch.images is not None:
        size = augmentation.policy.image_size
        return {"plain": evaluation_views(first_of(batch.images), size, eval_crop_for(size))}
    return {} if batch.plain is None else {"plain": first_of(batch.plain)}


def first_of(images: tf.Tensor) -> tf.Tensor:
    """The first images of a replica's batch [n, ...]: as many as the probe learns from."""
    n = images.shape[0] or tf.shape(images)[0]
    return images[: share_of_plain(n * collectives.replica_count(), n)]
