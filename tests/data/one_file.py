"""A pipeline that takes one file after another: made anew for each, it would be traced for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def pipeline_of(function: Callable[[tf.Tensor], Any]) -> Callable[[bytes], Any]:
    """The content of a file -> what `function` makes of it, as NumPy arrays, in `map` of a dataset."""
    content = tf.Variable(b"", dtype=tf.string)
    data = tf.data.Dataset.range(1 << 40).map(lambda _: content.read_value()).map(function)
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # nothing is read ahead
    results = data.with_options(options).as_numpy_iterator()

    def of_file(given: bytes) -> Any:
        content.assign(given)
        return next(results)

    return of_file
