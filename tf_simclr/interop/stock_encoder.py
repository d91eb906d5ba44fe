"""The encoder with Keras's own batch norm in place of ours, for a .keras file that opens without this library."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.nn.normalization import BatchNorm

FILE = "encoder.keras"


def _stock(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """The same layer without weights: float32, thawed, and a BatchNorm as Keras's BatchNormalization."""
    values = {**layer.get_config(), "dtype": "float32", "trainable": True}
    if not isinstance(layer, BatchNorm):
        return type(layer).from_config(values)
    return tf.keras.layers.BatchNormalization(
        momentum=layer.momentum,
        epsilon=layer.epsilon,
        center=layer.center,
        scale=layer.scale,
        gamma_initializer=layer.gamma_initializer,
        name=layer.name,
        dtype="float32",
    )


def stock_encoder(encoder: tf.keras.Model) -> tf.keras.Model:
    """A float32 copy of an encoder, values and all, from stock layers.

    In inference it computes what the encoder computes. In training its batch norms take the moments of each replica.
    With selective kernels two small layers of ours remain, which `import tf_simclr.nn.blocks` registers with Keras.

    Args:
        encoder: from `build_encoder`, whatever its precision and whatever is frozen.

    Returns:
        a functional model, images float32 [b, h, w, 3] in [0, 1] -> dict of the same endpoints.
    """
    copy = tf.keras.models.clone_model(encoder, clone_function=_stock)
    values = {_key(layer, v): v for layer in encoder.layers for v in layer.weights}
    for layer in copy.layers:
        for variable in layer.weights:
            variable.assign(compat.raw_variable(values[_key(layer, variable)]).numpy())
    return copy


def _key(layer: tf.keras.layers.Layer, variable: Any) -> tuple[str, str]:
    return layer.name, compat.leaf_name(variable)


def write_stock_encoder(encoder: tf.keras.Model, directory: str) -> None:
    """Writes encoder.keras into a directory, local or remote."""
    with tempfile.TemporaryDirectory() as scratch:
        # Keras 2 writes .keras files to local disks only.
        path = os.path.join(scratch, FILE)
        stock_encoder(encoder).save(path)
        tf.io.gfile.copy(path, os.path.join(directory, FILE), overwrite=True)
