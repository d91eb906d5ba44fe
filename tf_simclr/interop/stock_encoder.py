"""The encoder with Keras's own batch norm in place of ours, for a .keras file that opens without this library."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.interop.layer_walk import walk
from tf_simclr.nn.blocks import MeanOfHalvesSum, SelectHalves
from tf_simclr.nn.normalization import BatchNorm

layers = tf.keras.layers

FILE = "encoder.keras"
_FLOAT32: dict[str, Any] = {"dtype": "float32"}


def _stock(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """The same layer without weights: float32, thawed, and a BatchNorm as Keras's BatchNormalization."""
    values = {**layer.get_config(), "dtype": "float32", "trainable": True}
    if isinstance(layer, MeanOfHalvesSum):
        return _mean_of_halves_sum(layer.input.shape[-1] // 2, layer.name)
    if isinstance(layer, SelectHalves):
        return _select_halves(layer.output.shape[-1], layer.name)
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


def _mean_of_halves_sum(filters: int, name: str) -> tf.keras.Model:
    """`MeanOfHalvesSum` from layers of Keras: the mean of two numbers, twice, is their sum."""
    maps = layers.Input((None, None, 2 * filters))
    halves = layers.Reshape((2, filters), **_FLOAT32)(layers.GlobalAveragePooling2D(**_FLOAT32)(maps))
    total = layers.Rescaling(2.0, **_FLOAT32)(layers.GlobalAveragePooling1D(**_FLOAT32)(halves))
    return tf.keras.Model(maps, layers.Reshape((1, 1, filters), **_FLOAT32)(total), name=name)


def _select_halves(filters: int, name: str) -> tf.keras.Model:
    """`SelectHalves` from layers of Keras, none of which slices channels: they are cropped where rows usually are."""
    maps, logits = layers.Input((None, None, 2 * filters)), layers.Input((1, 1, 2 * filters))
    weights = layers.Softmax(axis=1, **_FLOAT32)(layers.Reshape((2, filters), **_FLOAT32)(logits))
    weights = layers.Reshape((1, 1, 2 * filters), **_FLOAT32)(weights)
    channels_first = layers.Permute((3, 1, 2), **_FLOAT32)(layers.Multiply(**_FLOAT32)([maps, weights]))
    halves = [layers.Cropping2D((crop, (0, 0)), **_FLOAT32)(channels_first) for crop in ((0, filters), (filters, 0))]
    return tf.keras.Model(
        [maps, logits], layers.Permute((2, 3, 1), **_FLOAT32)(layers.Add(**_FLOAT32)(halves)), name=name
    )


def stock_encoder(encoder: tf.keras.Model) -> tf.keras.Model:
    """A float32 copy of an encoder, values and all, from stock layers.

    In inference it computes what the encoder computes. In training its batch norms take the moments of each replica.
    The two small layers of ours that selective kernels have become models within the model.

    Args:
        encoder: from `build_encoder`, whatever its precision and whatever is frozen.

    Returns:
        a functional model, images float32 [b, h, w, 3] in [0, 1] -> dict of the same endpoints.
    """
    # Not clone_model: Keras 2 never finishes cloning a model into which models are put for layers.
    images = layers.Input(encoder.input.shape[1:], name=encoder.layers[0].name)
    outputs = walk(encoder, images, lambda layer, inputs: _stock(layer)(inputs[0] if len(inputs) == 1 else inputs))
    copy = tf.keras.Model(images, outputs, name=encoder.name)
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
