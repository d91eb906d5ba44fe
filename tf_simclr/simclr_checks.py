"""Whether the parts of a SimCLR are of their kind, and the form they take in it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.layers import ProjectionHead, SimCLRAugmentation
from tf_simclr.losses.loss_object import ContrastiveLoss


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
            "`loss` must be a contrastive loss object: tf_simclr.losses.NTXent(), another of tf_simclr.losses, or "
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


def require_can_augment(augmentation: SimCLRAugmentation | None, *, compiled_by_xla: bool) -> SimCLRAugmentation:
    """The augmentation, where there is one and it can run: images came, and two views of each are needed."""
    if augmentation is None:
        raise InputError(
            "`fit` needs two views of every image. Received: images, and a SimCLR without augmentation. Pass "
            "augmentation=tf_simclr.layers.SimCLRAugmentation(size) to SimCLR, or a data set of pairs of views"
        )
    if compiled_by_xla:
        raise InputError(
            "`jit_compile` must be False where the model augments: XLA cannot compile that. Received: images, and "
            "jit_compile=True. Augment in the data set, as tf_simclr.image_dataset does, or leave jit_compile out"
        )
    return augmentation


def require_trainable_probe(classes: int, probe_input: int, *, labels: Any) -> None:
    """Raises InputError where a probe of so many classes, 0 for none, cannot be trained beside the encoder."""
    if classes and probe_input:
        raise InputError(
            "`probe_input` must be 0 to train: beside pretraining the probe measures h. Received: probe_input="
            f"{probe_input}. Make a SimCLR of the same encoder with probe_input=0"
        )
    if classes and labels is None:
        raise InputError(
            f"a probe of {classes} classes needs labels. Received: images without labels. Pass (images, labels), or "
            "probe_classes=0"
        )
