"""What TensorFlow's errors say about an image that cannot be read, as one line with its path."""

from __future__ import annotations

import ast
import re

import tensorflow as tf

from tf_simclr.data.decoding import NAMED_IMAGE
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text

# In a graph the parts stand in brackets, C-escaped; eagerly on lines of their own, as Python writes bytes.
_DAMAGED = re.compile(rf"(?P<what>{NAMED_IMAGE.pattern})" + r"(?:\] \[(?P<escaped>.*)\]|'\n(?P<quoted>b['\"].*['\"]))")
_LOST = re.compile(r"(?:\}\} |: |\n)(?P<path>/.*?); (?P<reason>[A-Z][^;\n]*?)\s*(?:\n|\[Op:)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def named(error: BaseException) -> InputError | None:
    """The error that a person should see; None where it has nothing to do with reading images.

    Args:
        error: from a pass over a split. TensorFlow's messages are UTF-8, but a name in them may be any bytes: then
            Python fails to decode the message, and that failure holds it.
    """
    if isinstance(error, UnicodeDecodeError):
        text = error.object.decode("utf-8", "surrogateescape")
    elif isinstance(error, tf.errors.OpError):
        text = str(error)
    else:
        return None
    damaged = _DAMAGED.search(text)
    if damaged:
        return InputError(f"{damaged['what']} {as_text(_path(damaged))}. Run the same command again")
    if isinstance(error, tf.errors.DataLossError):
        return InputError(
            "A file of a prepared folder is damaged, or of another data set of records. Received: "
            f"{as_text(text.splitlines()[0])}. Prepare the folder again, or copy the whole directory"
        )
    lost = _LOST.search(text) if "ReadFile" in text else None
    if lost:
        return InputError(
            f"An image was there when the folder was listed and cannot be read now: {lost['reason']}. Received: "
            f"{as_text(lost['path'])}. Run the same command again: a missing image is left out"
        )
    return None


def _path(found: re.Match[str]) -> str:
    if found["quoted"]:
        raw = ast.literal_eval(found["quoted"])
    else:
        raw = _ESCAPE.sub(_unescaped, found["escaped"].encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def _unescaped(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = found.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    return bytes([int(octal, 8) if octal is not None else int(hexadecimal, 16)])
