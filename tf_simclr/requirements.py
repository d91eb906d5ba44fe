"""Says in one line that the requirements are missing, as they are where the environment was not activated."""

from __future__ import annotations

import importlib.util
import sys

# Of the first imports of a task; with these the others are there as well.
_NEEDED = ("absl", "numpy", "tensorflow")


def require_requirements() -> None:
    """Ends the program with code 2 where a package is missing that every task needs."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"error: this Python has no packages {', '.join(missing)}. Received: {sys.executable}. Activate the "
            "environment (source .venv/bin/activate), or run: python -m pip install -r requirements.txt",
            file=sys.stderr,
        )
        sys.exit(2)
