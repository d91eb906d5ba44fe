"""A page of the documentation that a program writes: the command line that all of them have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def write_or_check(
    page: Path, text: str, argv: Sequence[str] | None, *, purpose: str, made_of: str, command: str
) -> int:
    """Writes a page, or with --check says whether it is up to date.

    Args:
        page: the file.
        text: what it must hold.
        argv: the command line; None for that of the program.
        purpose: a line for --help.
        made_of: what the page is made of, for the message.
        command: that writes it.

    Returns:
        the exit code: 1 where a checked page is out of date.
    """
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is out of date")
    if not parser.parse_args(argv).check:
        page.write_text(text, encoding="utf-8")
        print(f"docs/{page.name} written")
        return 0
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    print(f"error: docs/{page.name} is not what {made_of} are now. Run: {command}", file=sys.stderr)
    return 1
