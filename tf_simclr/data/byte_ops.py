"""Bytes of a string as numbers, in TensorFlow's operations; what lies beyond its end reads as zeros."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.data.header_window import MOST_BLOCKS


def bytes_at(content: tf.Tensor, place: tf.Tensor | int, size: int) -> tf.Tensor:
    """int32 [size]: the bytes of a string from `place` (int64) on."""
    piece = tf.strings.substr(content, inside(content, place), size)
    return padded(piece, size)


def walk(body: Callable[..., list], start: list[tf.Tensor]) -> list[tf.Tensor]:
    """Repeats `body` while its second value, whether it goes on, is True."""
    return tf.while_loop(lambda _, going, *rest: going, body, start, maximum_iterations=MOST_BLOCKS)


def long(value: int) -> tf.Tensor:
    """An int64 scalar, as places in a string are."""
    return tf.constant(value, tf.int64)


def inside(content: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    """A place, int64, or the end of the string where it lies beyond that."""
    return tf.minimum(tf.cast(place, tf.int64), tf.cast(tf.strings.length(content), tf.int64))


def padded(piece: tf.Tensor, size: int) -> tf.Tensor:
    """int32 [size]: the bytes of a string, and zeros behind them."""
    return tf.cast(tf.io.decode_raw(piece, tf.uint8, fixed_length=size), tf.int32)


def equals(piece: tf.Tensor, name: bytes) -> tf.Tensor:
    """Whether bytes, int32 [n], are these n."""
    return tf.reduce_all(piece == list(name))


def number(piece: tf.Tensor, *, big: bool = False) -> tf.Tensor:
    """int64: the number that bytes [..., n] write, the last byte first unless `big`."""
    places = range(piece.shape[-1])
    weights = [256**place for place in (reversed(places) if big else places)]
    return tf.reduce_sum(tf.cast(piece, tf.int64) * weights, axis=-1)


def ordered(piece: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
    """`number`, where a tensor says which byte comes first."""
    return tf.where(big, number(piece, big=True), number(piece))


def first_of(*cases: tuple[tf.Tensor, str]) -> tf.Tensor:
    """The text of the first condition that holds; "" where none does."""
    text = tf.constant("")
    for holds, says in reversed(cases):
        text = tf.where(holds, says, text)
    return text
