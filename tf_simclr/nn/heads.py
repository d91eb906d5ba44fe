"""The projection head g(h), thrown away after training, and the linear classification head."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.nn.blocks import NormBuilder
from tf_simclr.nn.normalization import BatchNorm

layers = tf.keras.layers

PROJECTION_MODES = ("none", "linear", "nonlinear")
DENSE_STDDEV = 0.01


def _dense(units: int, name: str, dtype: Any, **options: Any) -> tf.keras.layers.Layer:
    options.setdefault("kernel_initializer", tf.keras.initializers.RandomNormal(stddev=DENSE_STDDEV))
    return layers.Dense(units, name=name, dtype=dtype, **options)


def projection_layers(mode: str, num_layers: int) -> int:
    """The number of dense layers of a projection head: 0 for "none", 1 for "linear", else num_layers."""
    require_choice("proj_head_mode", mode, PROJECTION_MODES)
    require_range("num_proj_layers", num_layers, at_least=1)
    return {"none": 0, "linear": 1, "nonlinear": num_layers}[mode]


def selected_layer(selector: int, count: int) -> int:
    """The number of projection layers below the tensor that the supervised head reads, in 0..count.

    Args:
        selector: 0 = h, 1 to count - 1 = that hidden layer, count or -1 = the head's output.
        count: number of dense layers of the head, from `projection_layers`.

    Raises:
        InputError: the head has no such layer.
    """
    if not -1 <= selector <= count:
        raise InputError(
            f"`ft_proj_selector` must be in -1..{count} for a projection head of {count} layers. "
            f"Received: ft_proj_selector={selector}"
        )
    return count if selector == -1 else selector


def endpoint_of_layer(number: int, count: int) -> str:
    """The endpoint's name after `number` of the `count` layers of a projection head."""
    if number == 0:
        return "proj_head_input"
    return "proj_head_output" if number == count else f"proj_head_layer{number}"


def build_projection_head(
    mode: str,
    in_dim: int,
    out_dim: int = 128,
    num_layers: int = 3,
    norm: NormBuilder = BatchNorm,
    dtype: Any = "float32",
    offset: bool = False,
) -> tf.keras.Model:
    """Builds g: dense layers without bias, each followed by a norm, with ReLU between them.

    Args:
        mode: "none" (z = h, no variables), "linear" (one layer) or "nonlinear" (num_layers, the hidden ones as wide as
            h).
        in_dim: width of h.
        out_dim: width of z, >= 1; "none" keeps in_dim.
        num_layers: >= 1, of a nonlinear head.
        norm: builds a norm layer from name, dtype and BatchNorm's arguments.
        dtype: Keras dtype policy or its name.
        offset: whether the last norm has an offset; the authors' has none.

    Returns:
        a functional model: h [b, in_dim] -> dict of float32 [b, .] proj_head_input, proj_head_layer1.. (hidden layers
        after ReLU) and proj_head_output.

    Raises:
        InputError: an argument is out of its range.

    Source: SimCLR, section 2.1 and 4.2; SimCLRv2, section 2 (deeper heads).
    """
    count = projection_layers(mode, num_layers)
    require_range("proj_out_dim", out_dim, at_least=1)
    inputs = tf.keras.Input((in_dim,), name="representations")
    x = layers.Activation("linear", name="input", dtype="float32")(inputs)
    endpoints = {"proj_head_input": x}
    for number in range(1, count):
        x = _dense(in_dim, f"layer{number}_dense", dtype, use_bias=False)(x)
        x = norm(name=f"layer{number}_norm", dtype=dtype)(x)
        x = layers.Activation("relu", name=f"layer{number}_relu", dtype="float32")(x)
        endpoints[f"proj_head_layer{number}"] = x
    if count:
        x = _dense(out_dim, f"layer{count}_dense", dtype, use_bias=False)(x)
        x = norm(name=f"layer{count}_norm", dtype="float32", center=offset)(x)
    endpoints["proj_head_output"] = x
    return tf.keras.Model(inputs, endpoints, name="projection_head")


def freeze_beyond(projection_head: tf.keras.Model, number: int) -> None:
    """Freezes every layer of a projection head after the first `number` dense layers and their norms."""
    trained = tuple(f"layer{used}_" for used in range(1, number + 1))
    for layer in projection_head.layers:
        layer.trainable = layer.name.startswith(trained)


def build_supervised_head(in_dim: int, num_classes: int, zero_init: bool = False) -> tf.keras.Model:
    """Builds the linear classifier, in float32 under every policy: it is cheap, and rounded logits are not.

    Args:
        in_dim: width of its input.
        num_classes: >= 1.
        zero_init: whether the kernel starts at 0, so that the first logits are all equal.

    Returns:
        a functional model: features [b, in_dim] -> logits float32 [b, num_classes].

    Raises:
        InputError: num_classes < 1.
    """
    require_range("num_classes", num_classes, at_least=1)
    inputs = tf.keras.Input((in_dim,), name="features")
    options = {"kernel_initializer": "zeros"} if zero_init else {}
    logits = _dense(num_classes, "dense", "float32", **options)(inputs)
    return tf.keras.Model(inputs, logits, name="supervised_head")
