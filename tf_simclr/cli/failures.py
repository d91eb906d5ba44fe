"""Errors of files and file systems, from Python or from TensorFlow, as one line with the path and what to do."""

from __future__ import annotations

import errno
import re

from tf_simclr.errors import is_of_tensorflow
from tf_simclr.escape import as_text

EXIT_NO_FILE = 74  # "input/output error" among the codes of sysexits.h

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_GONE = (errno.ENOENT, errno.ESTALE)
_WORDS = {
    _FULL: re.compile(r"No space left|File too large|quota exceeded|errno = (?:28|27|122)\b", re.IGNORECASE),
    _CLOSED: re.compile(r"Permission denied|Operation not permitted|Read-only file system", re.IGNORECASE),
    _GONE: re.compile(r"No such file|NOT_FOUND|Stale file handle", re.IGNORECASE),
}
_REMEDIES = {
    _FULL: "Free some space, or lift the limit on the size of files, and run the same command again",
    _CLOSED: "Change the permissions, or pass a folder that may be written, such as another --model_dir",
    _GONE: "Put it back, or check the path, and run the same command again",
}
_OTHERWISE = "Check the path and the disk, and run the same command again"
# What surrounds the message of the file system: nodes of a graph, the operation, lines of Python, where a function was
# called.
_AROUND = re.compile(r"\{\{[^}]*\}\}|\[Op:[^\]]*\]|\[\[[^\]]*\]\]|File \"[^\"]*\", line \d+, in \S+|name: \S*\s*$")
# A device has a name like a path: /job:localhost/replica:0/task:0/device:GPU:0.
_A_PATH = re.compile(r"(?:^|[\s'\":=(])(?:/(?!job:|device:)|\w+://)[^\s;'\"]")
# Of TensorFlow's own allocator, and of XLA.
_NO_MEMORY = re.compile(r"OOM when allocating|Out of memory while trying to allocate")
_MOST = 400


def described(error: BaseException) -> str | None:
    """What a person should know of an error; None where it is of another kind, and a traceback says more.

    Args:
        error: an OSError, or an error of TensorFlow's operations.
    """
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, (str, bytes)) else None
        reason = error.strerror or _plain(str(error))
        return _line(reason, path, error.errno) if path or error.errno or _known(reason) else None
    if not is_of_tensorflow(error):
        return None
    text = _plain(str(error))
    if _NO_MEMORY.search(text):
        return (
            f"the device has too little memory: {text}. Pass a smaller --train_batch_size or --eval_batch_size, "
            "--micro_batch_size, or --precision=bfloat16"
        )
    return _line(text, None, None) if _known(text) or _A_PATH.search(text) else None


def _known(text: str) -> bool:
    return any(words.search(text) for words in _WORDS.values())


def _line(reason: str, path: str | bytes | None, number: int | None) -> str:
    kind = next((kind for kind, words in _WORDS.items() if number in kind or words.search(reason)), None)
    remedy = _OTHERWISE if kind is None else _REMEDIES[kind]
    place = f" Received: {_plain(str(path))}." if path else ""
    return f"a file or folder cannot be used: {reason.rstrip('.')}.{place} {remedy}"


def _plain(text: str) -> str:
    """A message as one line, without what TensorFlow puts around it."""
    text = " ".join(_AROUND.sub(" ", text).split())
    shown = text if len(text) <= _MOST else f"{text[: _MOST // 2]} ... {text[-_MOST // 2 :]}"
    return as_text(shown)
