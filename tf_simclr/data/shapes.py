"""Built-in images: ten shapes in colour, drawn in seconds, where colour tells the image but never the class.

Two crops of one image share its colours, and no two images share them: a network that only compares histograms of
colours solves the contrastive task and learns nothing about shape. That is the shortcut of SimCLR, section 3.2 and
Figure 6, and colour distortion is what removes it.

Every random number is a hash of (seed, split, image, number of the draw): image i of a split is the same whatever
the number of images made, and however they are cut into chunks.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.shapes_splits import SPLIT_SIZES, shapes_split
from tf_simclr.data.silhouettes import SHAPES
from tf_simclr.data.source import ImageSource, Span, records_from_table

SIDE = 48
NUM_DRAWS = 48
# Of the images that a seed gives; another number whenever any of them changes.
GENERATOR = 1
_CHUNK = 100

Array = np.ndarray


# ---- Draws ----


def _mix(state: Array) -> Array:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input changes half of the output."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _uniforms(seed: int, split: str, images: Array, stream: int) -> Array:
    """float32 [n, NUM_DRAWS] in [0, 1): a hash of (seed, split, stream), image and number of the draw."""
    place = list(SPLIT_SIZES).index(split) * 2 + stream
    key: Array = _mix(np.array([seed % 2**64], np.uint64) * np.uint64(2) + np.uint64(1))
    key = _mix(key + np.uint64(place))
    counter: Array = images.astype(np.uint64)[:, None] * np.uint64(NUM_DRAWS)
    counter = counter + np.arange(NUM_DRAWS, dtype=np.uint64)
    bits = _mix(key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
    return ((bits >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)


def shape_labels(seed: int, split: str, start: int, stop: int) -> Array:
    """int64 [stop - start]: every block of ten images holds each class once, in an order of its own."""
    numbers = np.arange(start, stop)
    block_order = np.argsort(_uniforms(seed, split, numbers // len(SHAPES), stream=1)[:, : len(SHAPES)], axis=1)
    return block_order[np.arange(len(numbers)), numbers % len(SHAPES)].astype(np.int64)


# ---- Painting ----


def _colours(draws: Array) -> Array:
    """Four colours an image, [n, 4, 3]: two of the background, two of the foreground, which differ in lightness.

    Hues are free. The lightness of foreground and background differs by 0.3 at least, either way round, so that the
    shape can be seen without its colours; a pair of one side differs a little, for the texture.
    """
    back = 0.15 + 0.7 * draws[:, 0]
    gap = 0.3 + 0.25 * draws[:, 1]
    darker = back - gap >= 0.08
    lighter = back + gap <= 0.92
    front = np.where(darker & (~lighter | (draws[:, 2] < 0.5)), back - gap, back + gap)
    lightness = np.stack([back, back, front, front], 1) + 0.16 * (draws[:, 3:7] - 0.5)
    hue = draws[:, [7, 7, 8, 8]] + 0.2 * (draws[:, 9:13] - 0.5)
    chroma = 0.08 + 0.3 * draws[:, [13, 13, 14, 14]]
    angles = 2 * np.pi * (hue[..., None] + np.array([0, 1, 2], np.float32) / 3)
    return np.clip(lightness[..., None] + chroma[..., None] * np.cos(angles), 0, 1)


def _pattern(u: Array, v: Array, draws: Array) -> Array:
    """A texture in [0, 1] over coordinates [n, h, w]: plain, gradient, stripes, checks or waves, one an image."""
    kind: Array = (draws[:, 0] * 5).astype(int)
    angle = (2 * np.pi * draws[:, 1])[:, None, None]
    phase = (2 * np.pi * draws[:, 2:5])[:, :, None, None]
    frequency: Array = (5 + 7 * draws[:, 5])[:, None, None]
    mixed = np.zeros_like(u)
    for number in range(1, 5):
        chosen = np.flatnonzero(kind == number)
        a, k, p = angle[chosen], frequency[chosen], phase[chosen]
        x = u[chosen] * np.cos(a) + v[chosen] * np.sin(a)
        y = v[chosen] * np.cos(a) - u[chosen] * np.sin(a)
        if number == 1:
            wave = x
        elif number == 2:
            wave = 2 * np.sin(k * x + p[:, 0])
        elif number == 3:
            wave = 4 * np.sin(k * x + p[:, 0]) * np.sin(k * y + p[:, 1])
        else:
            wave = np.sin(0.5 * k * x + p[:, 0] + 1.5 * np.sin(0.4 * k * y + p[:, 1]))
        mixed[chosen] = np.clip(0.5 + 0.5 * wave, 0, 1)
    return mixed


def _render_chunk(draws: Array, labels: Array, noise: Array, side: int) -> Array:
    """uint8 [n, side, side, 3] from uniform draws [n, NUM_DRAWS] and labels [n]."""
    pixel = (np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0  # the image is [-1, 1]^2
    column = lambda k: draws[:, k][:, None, None]  # noqa: E731
    radius = 0.55 + 0.3 * column(0)  # of the disc around the shape: 55% to 85% of the side across
    reach = 1.1 - radius  # a shape may leave the image by a tenth of its half side
    x = pixel[None, None, :] - reach * (2 * column(1) - 1)
    y = pixel[None, :, None] - reach * (2 * column(2) - 1)
    angle = 2 * np.pi * column(3)
    u = (x * np.cos(angle) + y * np.sin(angle)) / radius
    v = (y * np.cos(angle) - x * np.sin(angle)) / radius
    distance = np.empty_like(u)
    for number, shape in enumerate(SHAPES.values()):
        chosen = np.flatnonzero(labels == number)
        distance[chosen] = shape(u[chosen], v[chosen])
    coverage = np.clip(0.5 - distance * radius * (side / 2), 0, 1)[..., None]
    colours = _colours(draws[:, 4:20])[:, :, None, None, :]
    full = np.broadcast_to(pixel, u.shape), np.broadcast_to(pixel[:, None], u.shape)
    texture_back = _pattern(*full, draws[:, 20:26])[..., None]
    texture_front = _pattern(u, v, draws[:, 26:32])[..., None]
    back = colours[:, 0] + (colours[:, 1] - colours[:, 0]) * texture_back
    front = colours[:, 2] + (colours[:, 3] - colours[:, 2]) * texture_front
    image = back + (front - back) * coverage
    corners = (draws[:, 32:34] * (noise.shape[0] - side)).astype(int)
    grain = np.stack([noise[i : i + side, j : j + side] for i, j in corners])
    image = image + grain * (0.06 * column(34))[..., None]
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def render_shapes(seed: int, split: str, start: int, stop: int, side: int = SIDE) -> tuple[Array, Array]:
    """Draws the images `start` to `stop` (exclusive) of a split.

    Args:
        seed: any integer; another seed gives other images.
        split: "train", "validation" or "test"; splits never share images.
        start: first image.
        stop: last image, exclusive.
        side: height and width in pixels.

    Returns:
        uint8 images [n, side, side, 3] and int64 labels [n], the classes being the keys of SHAPES.
    """
    labels = shape_labels(seed, split, start, stop)
    numbers = np.arange(start, stop)
    # One sheet of grain is cut at a place of its own for every image: far cheaper than new noise for each.
    noise = np.random.default_rng(abs(seed)).standard_normal((4 * side, 4 * side, 3), np.float32)
    images: Array = np.empty((stop - start, side, side, 3), np.uint8)
    for first in range(0, stop - start, _CHUNK):
        part = slice(first, first + _CHUNK)
        draws = _uniforms(seed, split, numbers[part], stream=0)
        images[part] = _render_chunk(draws, labels[part], noise, side)
    return images, labels


def shapes_source(split: str, *, seed: int = 0, side: int = SIDE) -> ImageSource:
    """The built-in data set as a source.

    Args:
        split: train (10,000 images), validation or test (2,000 each), or a slice such as "train[:2000]".
        seed: integer that the images depend on.
        side: height and width in pixels.

    Returns:
        the source, whose images lie in memory as uint8.

    Raises:
        InputError: unknown split or empty slice.
    """
    _, name, start, stop = known = shapes_split(split)
    images, labels = render_shapes(seed, name, start, stop, side)
    return ImageSource(
        name=known.name,
        split=split,
        num_examples=known.num_examples,
        num_classes=known.num_classes,
        class_names=known.class_names,
        image_shape=(side, side, 3),
        records=records_from_table(np.arange(start, stop), labels, images),
        decode=lambda pixels: tf.cast(pixels, tf.float32) / 255.0,
        fingerprint=fingerprint.of_facts("shapes", GENERATOR, seed, name, start, stop, side),
        names=lambda: tuple(f"{name}/{number:05d}" for number in range(start, stop)),
        spans=(Span(f"shapes {GENERATOR} {seed} {side} {name}", start, stop),),
    )
