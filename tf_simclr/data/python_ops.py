"""Python functions inside graphs, under names that every process with this library knows.

The graph of a pipeline may run in another process: see `tf_simclr.data.remote`. TensorFlow's own tf.numpy_function runs
only in the process that made the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import __version__
from tf_simclr.compat import register_python_function


class PythonOp:
    """An operation that calls a pure Python function, in whatever process the graph runs.

    Its shapes are unknown to the graph. Two names may not be the same, and one that is made again replaces the first.

    Args:
        name: of the function; the graph asks for it, and for this version of the library.
        function: takes bytes where an input is a string scalar, NumPy values elsewhere. It must not raise.
        outputs: dtypes of what it returns, as a tuple; of one value, that value alone.
    """

    def __init__(self, name: str, function: Callable[..., Any], outputs: tuple[tf.DType, ...]):
        self._token = f"tf_simclr-{__version__}/{name}"
        self._outputs = outputs
        self._function = lambda *values: function(*(_scalar(value) for value in values))
        register_python_function(self._token, self._function)

    def __call__(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """The outputs."""
        if tf.executing_eagerly():
            return tf.numpy_function(self._function, inputs, self._outputs, stateful=False)
        return tf.raw_ops.PyFuncStateless(input=inputs, token=self._token, Tout=self._outputs)


def _scalar(value: Any) -> Any:
    """A string as bytes, which is how it comes in a graph; eagerly it is an array."""
    return value.item() if isinstance(value, np.ndarray) and value.dtype == object and not value.shape else value
