"""Attributes of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attach(package: str, members: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose members are not imported with it.

    Args:
        package: its `__name__`.
        members: name -> module that holds it. A name whose module ends in that name is the module itself.

    Returns:
        what the package assigns to `__getattr__` and `__dir__`.
    """

    def get(name: str) -> Any:
        if name not in members:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(members[name])
        value = module if members[name] == f"{package}.{name}" else getattr(module, name)
        # The next look-up finds it without asking here.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *members})

    return get, names
