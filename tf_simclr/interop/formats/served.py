"""What exports compute, and how far a format is from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.interop.saved_model import IMAGES
from tf_simclr.nn.model import SimCLRModel

INPUT = "inputs"
OUTPUTS = ("final_avg_pool", "proj_head_output", "logits_sup")
# Of the largest value, where that is above 1.
MOST_OF_FLOAT32 = 1e-4
_SMALLEST_SIDE = 8

Run = Callable[[np.ndarray], Mapping[str, Any]]


class Served(tf.Module):
    """The networks as one function in inference: images [b, h, w, 3] in [0, 1] -> h, z and logits.

    Maps of features are left out: they would make every answer a hundred times as large.

    Args:
        model: the networks.

    Attributes:
        names: of the outputs.
        function: a tf.function with one signature.
    """

    def __init__(self, model: SimCLRModel):
        super().__init__()
        self.held = [compat.raw_variable(v) for v in model.named_variables().values()]
        parts = (model.encoder, model.projection_head, model.supervised_head)
        self.names = tuple(name for name, part in zip(OUTPUTS, parts, strict=True) if part is not None)
        names = self.names

        @tf.function(input_signature=[IMAGES], autograph=False)
        def function(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            endpoints = model.endpoints(inputs, training=False)
            return {name: endpoints[name] for name in names}

        self.function = function


def random_batches(image_size: int) -> Iterator[np.ndarray]:
    """Batches of 1 and 3 random images of the size, and one of 2 of another size."""
    generator = np.random.default_rng(0)
    other = max(_SMALLEST_SIDE, image_size * 3 // 4)
    for count, height, width in ((1, image_size, image_size), (3, image_size, image_size), (2, other, other + 1)):
        yield generator.random((count, height, width, 3), dtype=np.float32)


def largest_differences(served: Served, run: Run, batches: Iterable[np.ndarray]) -> dict[str, float]:
    """Output -> largest difference between two networks, as a share of its largest value where that is above 1.

    Args:
        served: the networks.
        run: what computes the same outputs by name.
        batches: of images, float32 [b, h, w, 3].
    """
    largest = dict.fromkeys(served.names, 0.0)
    for batch in batches:
        expected, found = served.function(tf.constant(batch)), run(batch)
        for name in served.names:
            ours = expected[name].numpy()
            difference = np.abs(np.asarray(found[name]) - ours).max() / max(1.0, np.abs(ours).max())
            # NaN is larger than any number here.
            largest[name] = max(largest[name], float(difference) if np.isfinite(difference) else float("inf"))
    return largest


def difference_note(differences: Mapping[str, float], by: str) -> str:
    """The differences in a line."""
    listed = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    return f"largest difference by {by}: {listed}, as a share of the largest value where that is above 1"


def require_same(differences: Mapping[str, float], to: str, by: str, most: float = MOST_OF_FLOAT32) -> None:
    """Raises InputError where a format computes something else."""
    if not all(value <= most for value in differences.values()):  # NaN is not
        raise InputError(
            f"`to` must be a format that computes what the networks do, to {most:g}. Received: to={to}; "
            f"{difference_note(differences, by)}. Install other versions of the packages "
            "that convert, or pass another --to"
        )
