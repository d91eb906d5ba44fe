"""What Keras hands to SimCLR, images or pairs of views with labels or without, and the means that it logs."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.ops import collectives
from tf_simclr.ops.image import to_rgb

# The summary tags of run.py without "train/", except for the total, which Keras calls loss.
_CONTRAST = ("contrast_loss", "contrast_acc", "contrast_entropy")
_LOGGED = ("loss", *_CONTRAST, "supervised_loss", "supervised_acc", "weight_decay")


class Batch(NamedTuple):
    """What a batch of a data set turned out to be."""

    images: tf.Tensor | None
    views: tuple[tf.Tensor, tf.Tensor] | None
    labels: tf.Tensor | None
    plain: tf.Tensor | None = None


def read_batch(data: Any) -> Batch:
    """Takes a batch apart: images or views, with labels where there are any.

    A batch of views as a dict, as `image_dataset` makes it, may have "plain": what evaluation sees of its images.
    """
    if isinstance(data, dict) and "views" in data:
        plain = data.get("plain")
        plain = None if plain is None else to_rgb(tf.convert_to_tensor(plain))
        return Batch(None, _pair(data["views"]), _labels(data.get("label")), plain)
    if not isinstance(data, (tuple, list)):
        return Batch(to_rgb(tf.convert_to_tensor(data)), None, None)
    if len(data) > 2 and data[2] is not None:
        raise InputError(
            "sample weights have no meaning here: all views of a batch are compared with each other. Received: a third "
            "element beside images and labels. Leave it out"
        )
    first, second = data[0], data[1] if len(data) > 1 else None
    if isinstance(first, (tuple, list)):
        return Batch(None, _pair(first), _labels(second))
    if second is not None and len(second.shape) == len(first.shape) == 4:
        return Batch(None, _pair((first, second)), None)
    return Batch(to_rgb(tf.convert_to_tensor(first)), None, _labels(second))


def _pair(views: Any) -> tuple[tf.Tensor, tf.Tensor]:
    if len(views) != 2:
        raise InputError(f"SimCLR learns from two views of an image. Received: {len(views)} views. Make two")
    a, b = (to_rgb(tf.convert_to_tensor(view)) for view in views)
    return a, b


def _labels(labels: Any) -> tf.Tensor | None:
    """int64 [n]; Keras 2 hands labels on as [n, 1]."""
    if labels is None:
        return None
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[-1] == 1:
        labels = labels[:, 0]
    if labels.shape.rank != 1:
        raise InputError(
            f"labels must be class numbers [n]. Received: labels of shape {labels.shape}. Take the argmax of one-hot "
            "rows"
        )
    return tf.cast(labels, tf.int64)


class Means:
    """Means of what is logged, out of reach of Keras's tracking, which would save them with the weights."""

    def __init__(self) -> None:
        self.by_name = {name: tf.keras.metrics.Mean(name=name) for name in _LOGGED}

    def update(self, metrics: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds a step's metrics, averaged over replicas; returns the means so far by logged name."""
        replicas = collectives.replica_context()
        logged = {}
        for tag, value in metrics.items():
            name = "loss" if tag == "train/total_loss" else tag.removeprefix("train/")
            if replicas is not None:
                value = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, value)
            self.by_name[name].update_state(value)
            logged[name] = self.by_name[name].result()
        return logged
