"""Lines about a listing of images that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


class HeaderLines:
    """Says how many headers of images were read so far, every ten seconds. A quick listing has no line.

    Args:
        say: prints a line.
    """

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._last: float | None = None

    def __call__(self, read: int) -> None:
        """Takes the number."""
        now = time.monotonic()
        if self._last is not None and now - self._last < SECONDS_BETWEEN_LINES:
            return
        if self._last is not None:
            self._say(f"listing the images: {read:,} headers read so far")
        self._last = now
