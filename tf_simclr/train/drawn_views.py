"""Images and their views as one drawing, so that people choose augmentations by looking."""

from __future__ import annotations

import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.data.stages import evaluation_view
from tf_simclr.data.views import make_views
from tf_simclr.files import write_whole
from tf_simclr.ops.draws import example_key
from tf_simclr.train.input import view_policy
from tf_simclr.train.summaries import SummaryWriter

VIEWS_FILE = "views.png"
# Tiles are drawn at least this large, with this much white between them.
_TILE, _GAP = 96, 4
# Of the drawing that a training begins with.
_IMAGES, _VIEWS = 8, 4


def write_views(config: ExperimentConfig, source: ImageSource) -> None:
    """Writes some images and their first views into a run's directory: views.png, and the same for TensorBoard."""
    directory = config.runtime.directory
    drawing, content = as_drawing(drawn_views(config, source, _IMAGES, _VIEWS)), io.BytesIO()
    drawing.save(content, "PNG")
    write_whole(os.path.join(directory, VIEWS_FILE), content.getvalue())
    SummaryWriter(directory).image("views", np.asarray(drawing))


def drawn_views(config: ExperimentConfig, source: ImageSource, images: int, views: int) -> np.ndarray:
    """Some images of a split and their views in the first epochs of a training.

    Args:
        config: of the training.
        source: the split.
        images: at most how many, chosen at random by the seed.
        views: of each.

    Returns:
        float32 [images, 1 + views, s, s, 3] in [0, 1]; first the image as evaluation sees it.
    """
    policy, num_views = view_policy(config)
    side, seed = config.data.image_size, config.runtime.seed
    rows = []
    for record in source.records(tf.constant(seed, tf.int64)).take(images):
        image = source.decode(record["data"])
        row = [evaluation_view(image, side, config.data.crop_of_evaluation)]
        for epoch in range(-(-views // num_views)):
            keys = example_key(seed, tf.constant(epoch, tf.int64), record["index"], tf.range(num_views))
            row += [view[0] for view in make_views(policy, image[tf.newaxis], keys[tf.newaxis])]
        rows.append(tf.stack(row[: 1 + views]))
    return tf.stack(rows).numpy()


def as_drawing(tiles: np.ndarray) -> Image.Image:
    """Tiles [rows, columns, s, s, 3] in [0, 1] as one drawing, the first column apart from the others."""
    rows, columns, side = tiles.shape[:3]
    scale = max(1, -(-_TILE // side))
    shown = side * scale
    width, height = columns * (shown + _GAP) + 2 * _GAP, rows * (shown + _GAP) - _GAP
    whole = Image.new("RGB", (width, height), "white")
    for row in range(rows):
        for column in range(columns):
            tile = Image.fromarray(np.rint(tiles[row, column] * 255).astype(np.uint8))
            left = column * (shown + _GAP) + (3 * _GAP if column else 0)
            whole.paste(tile.resize((shown, shown), Image.Resampling.NEAREST), (left, row * (shown + _GAP)))
    return whole
