"""Single images of a prepared folder, as for thumbnails: read without what lies before them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tf_simclr.data.prepared import open_prepared
from tf_simclr.errors import InputError

# A record of TFRecord: its length, a checksum of that, the content, a checksum of that.
_LENGTH = struct.Struct("<Q4x")
_CHECKSUM = 4


def stored_images(directory: str) -> Callable[[str], bytes]:
    """A function that reads an image of a prepared folder.

    Args:
        directory: of the prepared folder.

    Returns:
        path of an image, as in `StoredImage` -> the content of a jpeg or png file; b"" where there is none.
    """
    try:
        prepared = open_prepared(directory)
    except InputError:  # the images are gone, and what was found about them is still good
        return lambda path: b""

    def read(path: str) -> bytes:
        place = prepared.place_of(path)
        return b"" if place is None else _image_in(record_at(*place))

    return read


def record_at(path: str, number: int) -> bytes:
    """A record of a TFRecord file, by its number; b"" beyond the last one. Checksums are not looked at."""
    with open(path, "rb") as file:
        for current in range(number + 1):
            head = file.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                break
            (length,) = _LENGTH.unpack(head)
            if current == number:
                return file.read(length)
            file.seek(length + _CHECKSUM, 1)
    return b""


def _image_in(record: bytes) -> bytes:
    if not record:
        return b""
    import tensorflow as tf  # takes seconds

    from tf_simclr.data.shard_source import IMAGE

    values: list[bytes] = tf.train.Example.FromString(record).features.feature[IMAGE].bytes_list.value
    return values[0] if values else b""
