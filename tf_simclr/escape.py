r"""Names of files and classes as text that cannot do anything: in terminals, logs, tables, pages and commands.

A name may hold whatever its file system allows: new lines that begin a line of their own in a log, sequences that
colour a terminal or write its title, marks that turn the direction of letters, bytes that are no UTF-8.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
# Bytes that are no UTF-8, as Python keeps them in names, and halves of pairs, which are in no file system's names.
_NO_TEXT = re.compile("[\ud800-\udfff]")


def as_text(name: str) -> str:
    r"""A name as one line that every terminal and file can hold.

    Args:
        name: of a file or a class, or a line that holds some.

    Returns:
        the same, with \xNN for bytes that are not UTF-8, \n for a new line, and so on for other control characters.
    """
    return escape_controls(_NO_TEXT.sub(_byte, name))


def escape_controls(name: str) -> str:
    """A name with its control characters as `as_text` writes them, and all else as it is: for files of bytes."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], name)


def as_command(words: Iterable[str]) -> str:
    """Words as a command for a POSIX shell, on one line: whoever pastes it has the same words."""
    return " ".join(_quoted(word) for word in words)


def as_flag(name: str, value: object) -> str:
    """A flag with its value, as a person writes it: 5 where the number is 5.0."""
    return f"--{name}={repr(value).removesuffix('.0') if isinstance(value, float) else value}"


def _byte(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _quoted(word: str) -> str:
    if not (_CONTROL.search(word) or _NO_TEXT.search(word)):
        return shlex.quote(word)
    # Bash, zsh and ksh read $'...'; octal numbers, because a hexadecimal one would go on with the next letter.
    safe = (chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\{b:03o}" for b in _bytes(word))
    return f"$'{''.join(safe)}'"


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")
