"""Draws images and their views as one image."""

from __future__ import annotations

import dataclasses

from tf_simclr.cli.main import say
from tf_simclr.cli.task import named_images
from tf_simclr.config import FOLDER, AugmentationConfig, ExperimentConfig, build_config
from tf_simclr.config.own_images import own_images_defaults
from tf_simclr.config.views import ViewsConfig
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data
from tf_simclr.train.drawn_views import as_drawing, drawn_views

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
    drawn = as_drawing(tiles)
    try:
        drawn.save(wanted.out)
    except ValueError as error:  # WebP has a largest side
        raise InputError(
            f"`out` must be of a format that can hold the drawing. Received: out={wanted.out}, {drawn.width} x "
            f"{drawn.height} pixels: {error}. Pass a .png file, or fewer --images or --views"
        ) from error
    say(f"{len(tiles)} images of {config.data.image_size} pixels, each with {wanted.views} views: {wanted.out}")
    return wanted.out
