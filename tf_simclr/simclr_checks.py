"""Whether the parts of a SimCLR are of their kind, and the form they take in it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.layers import ProjectionHead, SimCLRAugmentation
from tf_simclr.losses.objects import ContrastiveLoss


def with_endpoints(encoder: Any) -> tf.keras.Model:
    """The encoder with a dict of endpoints as its output, final_avg_pool among them."""
    output = getattr(encoder, "output", None)
    if isinstance(output, dict) and "final_avg_pool" in output and encoder.name == "encoder":
        return encoder
    if isinstance(encoder, tf.keras.Model) and isinstance(output, dict) and "final_avg_pool" in output:
        return tf.keras.Model(encoder.input, output, name="encoder")
    shape = getattr(output, "shape", None)
    if not isinstance(encoder, tf.keras.Model) or shape is None or len(shape) != 2 or shape[-1] is None:
        raise InputError(
            "`encoder` must be a functional Keras model from images to vectors h [n, d]. Received: "
            f"{type(encoder).__name__} with output {getattr(shape, 'as_list', lambda: shape)()}. Take "
            "tf_simclr.resnet(...), or a model of tf.keras.applications with include_top=False and pooling='avg'"
        )
    return tf.keras.Model(encoder.input, {"final_avg_pool": output}, name="encoder")


def built_for(head: Any, width: int) -> ProjectionHead:
    """The head, built for an h of this width."""
    if not isinstance(head, ProjectionHead):
        raise InputError(
            f"`head` must be a tf_simclr.layers.ProjectionHead. Received: {type(head).__name__}. Pass "
            "ProjectionHead(out_dim=128, num_layers=2), or None for the default"
        )
    if not head.built:
        head.build((None, width))
    return head


def require_loss(loss: Any) -> ContrastiveLoss:
    """The loss, where it is a contrastive loss object."""
    if not isinstance(loss, ContrastiveLoss):
        raise InputError(
            "`loss` must be a contrastive loss object: tf_simclr.losses.NTXent(), NTLogistic() or MarginTriplet(), or "
            f"a ContrastiveLoss of yours. Received: loss={getattr(loss, '__name__', None) or repr(loss)}. Pass NTXent()"
        )
    return loss


def require_augmentation(augmentation: Any) -> SimCLRAugmentation | None:
    """The augmentation, where it makes two views."""
    if augmentation is not None and getattr(augmentation, "views", None) != 2:
        raise InputError(
            "`augmentation` must make two views of an image. Received: "
            f"{type(augmentation).__name__} with views={getattr(augmentation, 'views', None)}. Pass "
            "tf_simclr.layers.SimCLRAugmentation(size, views=2)"
        )
    return augmentation
