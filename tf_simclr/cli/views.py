"""Draws images and their views as one image."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_simclr.cli.main import say
from tf_simclr.cli.task import named_images
from tf_simclr.config import FOLDER, AugmentationConfig, ExperimentConfig, build_config
from tf_simclr.config.own_images import own_images_defaults
from tf_simclr.config.views import ViewsConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.data.stages import evaluation_view
from tf_simclr.data.views import make_views
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import example_key
from tf_simclr.train.build import build_data
from tf_simclr.train.input import view_policy

# Tiles are drawn at least this large, with this much white between them.
_TILE, _GAP = 96, 4
# What the settings for a folder say of views.
_SHOWN = {"image_size", *(field.name for field in dataclasses.fields(AugmentationConfig))}


def run(config: ExperimentConfig, wanted: ViewsConfig, *, chosen: bool) -> str:
    """Writes the drawing.

    Args:
        config: of a training.
        wanted: what is drawn.
        chosen: whether `run.py` would choose the settings for a folder, because no flag of training was given.

    Returns:
        the path of the drawing.
    """
    source = build_data(config).train
    if chosen and config.data.dataset == FOLDER:
        own = {name: value for name, value in own_images_defaults(source.num_examples).items() if name in _SHOWN}
        config = build_config(config.to_flags() | own)
        shown = " ".join(f"--{name}={value}" for name, value in own.items())
        say(f"note: {shown}, as run.py takes them for a folder of {source.num_examples} images")
    for note in source.notes:
        say(f"note: {note}")
    with named_images():
        tiles = drawn_views(config, source, wanted.images, wanted.views)
    drawn = picture(tiles)
    try:
        drawn.save(wanted.out)
    except ValueError as error:  # WebP has a largest side
        raise InputError(
            f"`out` must be of a format that can hold the drawing. Received: out={wanted.out}, {drawn.width} x "
            f"{drawn.height} pixels: {error}. Pass a .png file, or fewer --images or --views"
        ) from error
    say(f"{len(tiles)} images of {config.data.image_size} pixels, each with {wanted.views} views: {wanted.out}")
    return wanted.out


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


def picture(tiles: np.ndarray) -> Image.Image:
    """Tiles [rows, columns, s, s, 3] in [0, 1] as one image, the first column apart from the others."""
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
