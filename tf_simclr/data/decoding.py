"""From the bytes of a file to an image: TensorFlow's decoders where they can be trusted, Pillow elsewhere.

TensorFlow's decoders are given no file before its header was looked at: an animated webp aborts the process, memory is
reserved for as many pixels as a header announces, and a palette or a fourth band is taken for what it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import header_ops
from tf_simclr.data.header_ops import FORMATS, Facts
from tf_simclr.data.image_formats import header_of
from tf_simclr.data.image_header import DAMAGED
from tf_simclr.data.image_limits import MOST_DECODED, MOST_PIXELS, REDUCED_BY_DECODER
from tf_simclr.data.large_images import decode_in_turn
from tf_simclr.data.openers import Outcome, open_levels, open_sixteen_bits, way_of
from tf_simclr.data.orientation_ops import plain_jpeg
from tf_simclr.data.pillow_images import decode_with_pillow
from tf_simclr.data.pixels import finished, reduction, scaled, too_many, too_many_text
from tf_simclr.data.python_ops import PythonOp

CAN_READ_WEBP: bool = hasattr(tf.io, "decode_webp")
DAMAGED_IMAGE = "This image is damaged, remove or replace it:"
_UNUSABLE = "This image cannot be decoded"
# What the message of an error says before the path.
NAMED_IMAGE = re.compile(rf"{re.escape(DAMAGED_IMAGE)}|{_UNUSABLE} \(.*?\):")

# There is no Python control flow over tensors here, and AutoGraph would look through it all at every start.
_plain = tf.autograph.experimental.do_not_convert


def decode_image(content: tf.Tensor) -> tf.Tensor:
    """Decodes one jpeg, png, gif, bmp or, from TensorFlow 2.20 on, webp image without Python.

    Grey and palettes become RGB, CMYK jpegs are converted to it, transparent parts are composited on white (the alpha
    of a bmp is ignored, because that byte is often unused and 0). The orientation that EXIF asks for is applied to
    jpeg, png and webp. A png of 16 bits keeps them. Images above 2**24 pixels are decoded at a half or a quarter of
    their sides.

    Args:
        content: string scalar, the bytes of the file; the format is recognised from them.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged, or one that TensorFlow's decoders cannot be trusted with:
            an animated webp, a gif with transparency, a packed bmp or one with a palette, more pixels than MOST_PIXELS,
            any other format.
    """
    image, reason = _by_tensorflow(content, header_ops.facts(content), _called)
    return _unless(image, reason, [tf.strings.join([_UNUSABLE, ": ", reason])])


def decode_named(
    content: tf.Tensor, path: tf.Tensor, decoder: str = "auto", most: int = MOST_PIXELS, *, hurried: bool = False
) -> tf.Tensor:
    """Decodes one image file; errors name it.

    Args:
        content: string scalar, the bytes of the file.
        path: string scalar, for the message.
        decoder: "tensorflow" does what `decode_image` does, "pillow" reads everything by Pillow, and "auto" what
            TensorFlow cannot be trusted with. Pillow runs in Python, inside tf.numpy_function, and takes besides tiff,
            avif, jpeg 2000, and heic where pillow-heif is installed.
        most: pixels of a file that has to be decoded as a whole, and of all large ones that are decoded at a time.
        hurried: saves the time that it takes to find out which file is damaged.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: with the path, the file is damaged or cannot be decoded. With `hurried`: any
            tf.errors.OpError, perhaps without the path.
    """
    if decoder == "pillow":
        return named(_by_pillow(content, most), path)
    return decode_known(content, path, facts_of(content), decoder, most, _called if hurried else attempted)


def decode_known(
    content: tf.Tensor,
    path: tf.Tensor,
    facts: Facts,
    decoder: str,
    most: int = MOST_PIXELS,
    call: Callable[..., Any] | None = None,
) -> tf.Tensor:
    """`decode_named` by "auto" or "tensorflow", of a file whose header was read already by `facts_of`."""
    outcome = tf.cond(
        _takes_much_memory(facts, most),
        lambda: _in_turn(content, most),
        lambda: _by_tensorflow(content, facts, call or attempted, most),
    )
    return named(_or_pillow(outcome, content, most) if decoder == "auto" else outcome, path)


# ---- Outcomes ----


def attempted(function: Callable[..., Any], values: list[tf.Tensor], otherwise: Any) -> Any:
    """What a function returns, or something else where an operation in it fails.

    TensorFlow's own errors do not say which of a million files is damaged. A data set of one element that ignores
    errors turns the failure into an absent element. The function is prepared anew for every element: keep it small.
    """
    absent = tf.data.Dataset.from_tensors(otherwise)
    attempt = tf.data.Dataset.from_tensors(tuple(values)).map(_plain(function)).ignore_errors()
    return attempt.concatenate(absent).take(1).get_single_element()


def _called(function: Callable[..., Any], values: list[tf.Tensor], otherwise: Any) -> Any:
    """What a function returns; an operation that fails ends the graph with an error that names no file."""
    del otherwise
    return function(*values)


def _or_pillow(outcome: Outcome, content: tf.Tensor, most: int) -> Outcome:
    """The outcome, or Pillow's where TensorFlow was not given the file."""
    image, reason = outcome
    refused = tf.reduce_all(reason != ["", DAMAGED])
    return tf.cond(refused, lambda: _by_pillow(content, most), lambda: (image, reason))


def named(outcome: Outcome, path: tf.Tensor) -> tf.Tensor:
    """The image; where there is none an error that names the file."""
    image, reason = outcome
    other = tf.strings.join([_UNUSABLE, " (", reason, "):"])
    return _unless(image, reason, [tf.where(reason == DAMAGED, DAMAGED_IMAGE, other), path])


def _unless(image: tf.Tensor, reason: tf.Tensor, message: list[tf.Tensor]) -> tf.Tensor:
    checked = tf.debugging.Assert(reason == "", message)
    with tf.control_dependencies([checked] if checked is not None else []):
        return tf.identity(image)


# ---- Decoders ----


def _by_pillow(content: tf.Tensor, most: int) -> Outcome:
    pixels, reason = _PILLOW(content, tf.constant(most, tf.int64))
    pixels, reason = tf.ensure_shape(pixels, [None, None, None]), tf.ensure_shape(reason, [])

    def sixteen() -> tf.Tensor:
        height, width = tf.unstack(tf.shape(pixels)[:2])
        pairs = tf.bitcast(tf.reshape(pixels, [height, width, 3, 2]), tf.uint16)
        return scaled(pairs, tf.constant(1.0), tf.constant(1 / 65535))

    def eight() -> tf.Tensor:
        return finished(pixels, tf.constant(1), tf.constant(1), tf.constant(1.0), tf.constant(1 / 255))

    return tf.cond(tf.shape(pixels)[-1] == 6, sixteen, eight), reason


def facts_of(content: tf.Tensor) -> Facts:
    """The facts of a header. A jpeg without EXIF and a plain png never meet Python, which takes longer than a look.

    With other files it is faster than operations.
    """

    def by_python() -> Facts:
        numbers, obstacle = _HEADER(content)
        return Facts.of(tf.ensure_shape(numbers, [6]), tf.ensure_shape(obstacle, []))

    def no_jpeg() -> Facts:
        sure, png = header_ops.plain_png(content)
        return tf.cond(sure, lambda: png, by_python)

    plain = plain_jpeg(content)
    return tf.cond(plain.sure, lambda: header_ops.jpeg_facts(plain.height, plain.width), no_jpeg)


def _numbers(content: bytes) -> tuple[np.ndarray, bytes]:
    """What `Facts.of` takes, from a header that Python reads. Never raises."""
    header = header_of(content)
    number = FORMATS.index(header.format) if header.format in FORMATS else len(FORMATS)
    numbers = [number, header.height, header.width, header.orientation, header.transparent, header.sixteen_bits]
    return np.array(numbers, np.int64), header.obstacle.encode()


_PILLOW = PythonOp("decode_with_pillow", decode_with_pillow, (tf.uint8, tf.string))
_IN_TURN = PythonOp("decode_in_turn", decode_in_turn, (tf.float32, tf.string))
_HEADER = PythonOp("header", _numbers, (tf.int64, tf.string))


def _in_turn(content: tf.Tensor, most: int) -> Outcome:
    image, reason = _IN_TURN(content, tf.constant(most, tf.int64))
    return tf.ensure_shape(image, [None, None, 3]), tf.ensure_shape(reason, [])


def _takes_much_memory(facts: Facts, most: int) -> tf.Tensor:
    """`image_limits.takes_much_memory` of a file that TensorFlow can decode."""
    is_jpeg = facts.format == FORMATS.index(REDUCED_BY_DECODER)
    many = facts.height * facts.width > tf.where(is_jpeg, tf.constant(most, tf.int64), MOST_DECODED)
    return tf.logical_and(many, _obstacle(facts, most) == "")


def _obstacle(facts: Facts, most: int) -> tf.Tensor:
    """Why TensorFlow's decoder is not given a file; "" where it is."""
    obstacle = facts.obstacle
    if not CAN_READ_WEBP:
        obstacle = tf.where(
            facts.format == FORMATS.index("webp"), f"TensorFlow {tf.__version__} cannot read webp", obstacle
        )
    is_jpeg = facts.format == FORMATS.index(REDUCED_BY_DECODER)
    limit = tf.where(is_jpeg, tf.constant(MOST_PIXELS, tf.int64), most)
    size = facts.height, facts.width, limit
    return tf.where(too_many(*size), too_many_text(*size), obstacle)


def _by_tensorflow(content: tf.Tensor, facts: Facts, call: Callable[..., Any], most: int = MOST_PIXELS) -> Outcome:
    """Decodes by TensorFlow unless there is an obstacle.

    Args:
        content: the file.
        facts: what its header says.
        call: (function, its arguments, what to return where it fails) -> what it returns.
        most: as in `decode_named`.
    """
    obstacle = _obstacle(facts, most)
    good = obstacle == ""
    # Whatever an optimiser makes of a condition, a decoder never sees what it must not.
    harmless = tf.where(good, content, "")
    is_png = facts.format == FORMATS.index("png")
    # A jpeg is reduced by its decoder.
    is_jpeg = facts.format == FORMATS.index("jpeg")
    factor = tf.where(is_jpeg, 1, reduction(facts.height, facts.width))

    def eight() -> Outcome:
        nothing = tf.zeros([0, 0, 3], tf.uint8), DAMAGED
        pixels, reason = call(open_levels, [harmless, way_of(facts.format, facts.transparent)], nothing)
        # To the last bit what tf.io.decode_image makes of a png, which it widens to 16 bits first.
        widened, scale = tf.where(is_png, 257.0, 1.0), tf.where(is_png, 1 / 65535, 1 / 255)
        return finished(pixels, facts.orientation, factor, widened, scale), reason

    def sixteen() -> Outcome:
        nothing = tf.zeros([0, 0, 4], tf.uint16), DAMAGED
        pixels, reason = call(open_sixteen_bits, [harmless], nothing)
        return finished(pixels, facts.orientation, factor, tf.constant(1.0), tf.constant(1 / 65535)), reason

    def decode() -> Outcome:
        return tf.cond(facts.sixteen_bits, sixteen, eight)

    return tf.cond(good, decode, lambda: (tf.zeros([0, 0, 3]), obstacle))
