"""Draws the image of augmented views in the README: eight built-in images, each with eight random views.

    PYTHONPATH=. python benchmarks/augmented_views.py --out=docs/augmented_views.png

The first column is the image, the others are views with the paper's colour distortion at strength 1, crop, flip and
blur (SimCLR, Figure 4). Needs Pillow.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_simclr.data.shapes import SIDE, shapes_source
from tf_simclr.data.views import ViewPolicy, make_view
from tf_simclr.ops.draws import example_key

IMAGES, VIEWS, SCALE = 8, 8, 2


def main() -> None:
    """Writes the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = shapes_source(f"train[:{IMAGES}]")
    images = tf.stack([source.decode(record["data"]) for record in source.records(None)])
    policy = ViewPolicy(image_size=SIDE)
    index = tf.range(IMAGES, dtype=tf.int64)
    columns = [images] + [
        make_view(policy, images, example_key(arguments.seed, tf.zeros_like(index), index, view))
        for view in range(VIEWS)
    ]
    grid = tf.stack(columns, axis=1).numpy()  # [images, views + 1, side, side, 3]
    pixels = grid.transpose(0, 2, 1, 3, 4).reshape(IMAGES * SIDE, (VIEWS + 1) * SIDE, 3)
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST).save(arguments.out)


if __name__ == "__main__":
    main()
