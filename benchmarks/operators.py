"""Draws the photo of the operators in the guide: one built-in photo, and each operator on it.

    PYTHONPATH=. python benchmarks/operators.py --out=docs/operators.png

A row an operator, in the order of the guide's table: the photo, then views with this operator alone, as
--augmentation=NAME makes them, with an event that is drawn always happening. Needs Pillow.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_simclr.config import OPERATORS, OperatorOption
from tf_simclr.data.shapes import SIDE, shapes_source
from tf_simclr.data.views import ViewPolicy, make_view
from tf_simclr.ops.draws import example_key

VIEWS, SCALE = 6, 2


def main() -> None:
    """Writes the photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--example", type=int, default=0, help="number of the built-in photo")
    arguments = parser.parse_args()
    source = shapes_source(f"train[:{arguments.example + 1}]")
    image = [source.decode(record["data"]) for record in source.records(None)][arguments.example]
    keys = example_key(0, 0, arguments.example, tf.range(VIEWS))
    images = tf.repeat(image[tf.newaxis], VIEWS, axis=0)
    rows = []
    for name in OPERATORS:
        policy = ViewPolicy.composed(SIDE, [OperatorOption(name, probability=1.0)])
        rows.append(tf.concat([image[tf.newaxis], make_view(policy, images, keys)], axis=0))
    grid = tf.stack(rows).numpy()  # [operators, views + 1, side, side, 3]
    pixels = grid.transpose(0, 2, 1, 3, 4).reshape(len(rows) * SIDE, (VIEWS + 1) * SIDE, 3)
    photo = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    photo = photo.resize((photo.width * SCALE, photo.height * SCALE), Image.Resampling.NEAREST)
    photo.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
