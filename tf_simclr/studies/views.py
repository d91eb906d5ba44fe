"""Augmented views of images, as training makes them: a row of one image for each cell, or of a few images by all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.data.views import make_view
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import example_key
from tf_simclr.studies.drawing import new_canvas, save
from tf_simclr.studies.study import Gallery, Views
from tf_simclr.train.input import view_policy

VIEWS = 6
_INCHES = 0.9  # side of an image
_SIDE = 0.94  # of an image, where its place in the grid has 1


def draw_views(
    figure: Views,
    rows: Sequence[tuple[str, ExperimentConfig]],
    source: ImageSource,
    directory: str,
    *,
    image: int = 0,
    count: int = VIEWS,
) -> list[str]:
    """Draws the grid as NAME.png and NAME.svg: the image itself, then views of it, a row for each config.

    Args:
        figure: its name and title.
        rows: label and config of each row; `figure.cells` is not looked at.
        source: the images.
        directory: made where it is missing.
        image: which of them, by its place in the canonical order.
        count: views in a row.

    Returns:
        the PNG; empty without rows.

    Raises:
        InputError: matplotlib is missing, or the source has no such image.
    """
    if not rows:
        return []
    index, original = image_of(source, image)
    labels = [label for label, _ in rows]
    label_inches = 0.095 * max(map(len, labels))
    canvas = new_canvas(_INCHES * (count + 1) + label_inches + 0.3, _INCHES * len(rows) + 0.9, figure.title)
    axes = canvas.add_subplot()
    for row, (_, config) in enumerate(rows):
        views = augmented_views(config, original, index, count)
        _add_row(axes, row, [_as_bytes(original), *views])
    _frame(axes, len(rows), count)
    axes.set_xticks([_SIDE / 2, 1.15 + (count - 1 + _SIDE) / 2], ["image", "augmented views"])
    axes.set_yticks([row + _SIDE / 2 for row in range(len(rows))], labels, parse_math=False)
    return [save(canvas, directory, figure.name)]


def draw_gallery(
    figure: Gallery, columns: Sequence[tuple[str, ExperimentConfig]], source: ImageSource, directory: str
) -> list[str]:
    """Draws images, spread evenly over the source, and a view of each by every config, as NAME.png and NAME.svg.

    Args:
        figure: its name, title, and at most how many images.
        columns: label and config of each column.
        source: the images.
        directory: made where it is missing.

    Returns:
        the PNG.

    Raises:
        InputError: matplotlib is missing.
    """
    count = min(figure.images, source.num_examples)
    lines = max(label.count(" ") for label, _ in columns)
    width, height = _INCHES * (len(columns) + 1) + 0.3, _INCHES * count + 0.9 + 0.15 * lines
    canvas = new_canvas(width, height, figure.title)
    axes = canvas.add_subplot()
    for row in range(count):
        index, original = image_of(source, row * source.num_examples // count)
        views = [augmented_views(config, original, index, 1)[0] for _, config in columns]
        _add_row(axes, row, [_as_bytes(original), *views])
    _frame(axes, count, len(columns))
    places = [_SIDE / 2, *(1.15 + column + _SIDE / 2 for column in range(len(columns)))]
    axes.set_xticks(places, ["image", *(label.replace(" ", "\n") for label, _ in columns)], parse_math=False)
    axes.set_yticks([])
    return [save(canvas, directory, figure.name)]


def _add_row(axes: Any, row: int, tiles: Sequence[np.ndarray]) -> None:
    """A row of tiles, the first apart from the others."""
    for column, pixels in enumerate(tiles):
        left, top = column + (column > 0) * 0.15, float(row)
        # Not resampled: a viewer sees the pixels that the network gets.
        axes.imshow(pixels, extent=(left, left + _SIDE, top + _SIDE, top), interpolation="none")


def _frame(axes: Any, rows: int, views: int) -> None:
    axes.set_xlim(0, views + 1.15)
    axes.set_ylim(rows, 0)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)


def image_of(source: ImageSource, number: int) -> tuple[int, tf.Tensor]:
    """The index of an image, which its augmentations depend on, and the image, float32 [h, w, 3] in [0, 1].

    Raises:
        InputError: the source has no such image.
    """
    if not 0 <= number < source.num_examples:
        raise InputError(
            f"`image` must be in [0, {source.num_examples}), the images of {source.split!r} of {source.name}. "
            f"Received: image={number}"
        )
    record = next(iter(source.records(None).skip(number)))
    return int(record["index"]), source.decode(record["data"])


def augmented_views(config: ExperimentConfig, image: tf.Tensor, index: int, count: int = VIEWS) -> np.ndarray:
    """What training makes of an image: its first view in each of the first epochs.

    The first view is the one that gets the operators where only one branch has them.

    Args:
        config: of the training; its policy and seed decide the views.
        image: float32 [h, w, 3] in [0, 1].
        index: of the image in its data set.
        count: how many views.

    Returns:
        uint8 [count, s, s, 3].
    """
    policy, _ = view_policy(config)
    keys = example_key(config.runtime.seed, tf.range(count), index, 0)
    return _as_bytes(make_view(policy, tf.repeat(image[tf.newaxis], count, axis=0), keys))


def _as_bytes(image: tf.Tensor) -> np.ndarray:
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
