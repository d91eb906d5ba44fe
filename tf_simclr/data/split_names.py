"""How splits and slices of them are named."""

from __future__ import annotations

import re
from collections.abc import Callable

from tf_simclr.errors import InputError


def bare_name(split: str) -> str:
    """The name of a split without its slice."""
    return split.partition("[")[0]


def parse_split(split: str, num_examples: Callable[[str], int]) -> tuple[str, int, int]:
    """Reads "train", "train[:2000]", "train[100:]", "train[:10%]" or "train[10%:50%]".

    Args:
        split: what the user wrote.
        num_examples: name of a split -> its size; raises InputError for an unknown name.

    Returns:
        the name, and the first and last (exclusive) position.

    Raises:
        InputError: the text cannot be read, or the slice is empty.
    """
    bound = r"(\d+%?)?"
    match = re.fullmatch(rf"([^\[\]]+?)(?:\[{bound}:{bound}\])?", split)
    if match is None:
        raise InputError(
            f"A split must be NAME, NAME[FROM:TO] or NAME[FROM%:TO%], as in train[:2000]. Received: split={split!r}"
        )
    name, start_text, stop_text = match.groups()
    total = num_examples(name)

    def position(text: str | None, default: int) -> int:
        if text is None:
            return default
        value = round(int(text[:-1]) * total / 100) if text.endswith("%") else int(text)
        return min(value, total)

    start, stop = position(start_text, 0), position(stop_text, total)
    if start >= stop:
        raise InputError(
            f"The split holds no image: choose a slice within the {total} images of {name!r}. Received: split={split!r}"
        )
    return name, start, stop
