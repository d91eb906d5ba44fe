"""How a field of the config says what its flag is."""

from __future__ import annotations

import dataclasses
from typing import Any


def option(default: Any, help_text: str, choices: tuple[str, ...] | None = None) -> Any:
    """A config field that is also a command-line flag."""
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})
