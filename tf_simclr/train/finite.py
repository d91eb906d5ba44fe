"""Whether a network can be used at all: its values are finite numbers, and so is what it computes from an image.

A network that diverged still answers, and an accuracy of NaNs means nothing: whoever evaluates, exports or goes on from
a network asks here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import DivergedError
from tf_simclr.nn.model import SimCLRModel

REMEDY = "The training diverged: train again in a new --model_dir with a smaller --learning_rate or a longer warm-up"
_SHOWN = 3


def require_finite_values(variables: Mapping[str, Any], what: str) -> None:
    """Checks every floating-point value once, where it lies.

    Args:
        variables: path -> variable, Keras's, TensorFlow's or distributed; with several workers all must call this.
        what: whose variables they are, for the message, as "the network at step 3".

    Raises:
        DivergedError: some are NaN or infinite; the message names the first variables and says how many there are.
    """
    bad = list_not_finite(variables)
    if bad:
        raise DivergedError(f"{what} holds values that are not finite: {bad}. {REMEDY}")


def list_not_finite(variables: Mapping[str, Any]) -> str:
    """The first variables with values that are NaN or infinite, and how many there are; empty where all are finite.

    Args:
        variables: as for `require_finite_values`.
    """
    bad = {path: count for path, variable in variables.items() if (count := _not_finite(variable))}
    sizes = {path: int(np.prod(variables[path].shape)) for path in list(bad)[:_SHOWN]}
    listed = ", ".join(f"{path} ({bad[path]:,} of {size:,})" for path, size in sizes.items())
    return listed + (f", and {len(bad) - _SHOWN} more variables" if len(bad) > _SHOWN else "")


def _not_finite(variable: Any) -> int:
    """How many values of a variable are NaN or infinite."""
    value = compat.raw_variable(variable).read_value()
    if not value.dtype.is_floating:
        return 0
    return int(tf.math.count_nonzero(tf.logical_not(tf.math.is_finite(value))))


def require_finite_network(model: SimCLRModel, *, image_size: int, what: str) -> None:
    """Checks every value of a network, and every endpoint of one image of noise in inference mode.

    Weights may be finite and yet so large that activations are not. No variable changes.

    Args:
        model: the networks; with several workers all must call this.
        image_size: side of the image.
        what: which network, for the message, as "the network at step 3".

    Raises:
        DivergedError: a value is NaN or infinite; the message names the variables, or the first such endpoint and the
            largest weight.
    """
    named = model.named_variables()
    require_finite_values(named, what)
    image = tf.random.stateless_uniform([1, image_size, image_size, 3], [0, 0])
    for name, value in model.endpoints(image, training=False).items():
        if not bool(tf.reduce_all(tf.math.is_finite(value))):
            raise DivergedError(
                f"{what} computes values that are not finite from an image, in {name}; {_largest(named)}. {REMEDY}"
            )


def _largest(variables: Mapping[str, Any]) -> str:
    """Which of some finite variables has the largest value, for a message."""
    sizes = {path: float(tf.reduce_max(tf.abs(compat.raw_variable(v).read_value()))) for path, v in variables.items()}
    path = max(sizes, key=lambda name: sizes[name])
    return f"its weights are finite, but as large as {sizes[path]:.2g} ({path})"
