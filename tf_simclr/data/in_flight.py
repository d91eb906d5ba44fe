"""How much is decoded at a time, whatever the number of threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class PixelsInFlight:
    """Lets as much work go on at a time as a number of pixels allows; more than that goes alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = 0

    @contextlib.contextmanager
    def turn(self, pixels: int, most: int) -> Iterator[None]:
        """Waits until no more than `most` pixels would be worked on with these, or nothing else is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= most)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


# Of this process, whoever decodes.
IN_FLIGHT = PixelsInFlight()
