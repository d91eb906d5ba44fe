"""What tables of texts agree on; without TensorFlow."""

from __future__ import annotations

# Where a table has no figure.
NOTHING = "-"


class Bold(str):
    """A text that tables of pages show in bold."""
