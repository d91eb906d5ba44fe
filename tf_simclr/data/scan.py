"""Listing the files below a folder, and keeping account of everything that is left out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sized
from typing import NamedTuple

from tf_simclr.data.headers import Headers
from tf_simclr.data.image_files import EXTENSIONS, NO_IMAGE
from tf_simclr.data.image_limits import MOST_DECODED
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text

# What operating systems, NAS boxes and archives leave beside images.
_SYSTEM_NAMES = frozenset(
    {
        "@eadir",
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "lost+found",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "__pycache__",
    }
)


class Found(NamedTuple):
    """An image file.

    Attributes:
        path: absolute where the folder's was.
        size: in bytes.
        changed: time of the last change, in nanoseconds; in a prepared folder a digest of the stored image.
        key: of the file itself: two paths to one file, by links of any kind, have the same one.
        number: of its record in a prepared folder, where no file of that path is; -1 for a file.
    """

    path: str
    size: int
    changed: int
    key: str
    number: int = -1


@dataclasses.dataclass
class Files:
    """The files below a folder.

    Attributes:
        images: files whose content is an image, in the order of their paths.
        refused: images that cannot be decoded, by their headers, each with the reason.
        unreadable: files that are named like an image and are none, or cannot be opened, each with the reason.
        others: files that are no images.
        hidden: files and folders whose names begin with a dot.
        system: files and folders that a system has put there, as Thumbs.db.
        closed: folders that cannot be listed, each with the reason.
        special: pipes, sockets and devices.
        dangling: links to nothing.
        repeated: links to folders that were read already, and to those that they lie in.
        reduced: those of `images` that are too large to be decoded whole.
    """

    images: list[Found] = dataclasses.field(default_factory=list)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    others: list[str] = dataclasses.field(default_factory=list)
    hidden: list[str] = dataclasses.field(default_factory=list)
    system: list[str] = dataclasses.field(default_factory=list)
    closed: dict[str, str] = dataclasses.field(default_factory=dict)
    special: list[str] = dataclasses.field(default_factory=list)
    dangling: list[str] = dataclasses.field(default_factory=list)
    repeated: list[str] = dataclasses.field(default_factory=list)
    reduced: list[str] = dataclasses.field(default_factory=list)

    def add_left_out(self, more: Files) -> None:
        """Takes over what another folder's account left out, but not its images."""
        self.refused |= more.refused
        self.unreadable |= more.unreadable
        self.closed |= more.closed
        for name in ("others", "hidden", "system", "special", "dangling", "repeated", "reduced"):
            getattr(self, name).extend(getattr(more, name))

    def require_decodable(self) -> None:
        """Raises InputError where an image cannot be decoded: it is the user's real data."""
        if not self.refused:
            return
        (path, reason), *others = self.refused.items()
        more = f", and {count(others, 'other image')}: {some(as_text(path) for path, _ in others)}" if others else ""
        raise InputError(
            f"This image cannot be decoded: {reason}. Received: {as_text(path)!r}{more}. To leave such images out, "
            "pass --on_bad_image=skip"
        )

    def notes(self) -> tuple[str, ...]:
        """What was left out, a line for each reason."""
        notes: list[str] = []
        if self.others:
            kinds = sorted({os.path.splitext(p)[1].lower() or "no extension" for p in self.others})
            be = "is not an image" if len(self.others) == 1 else "are not images"
            notes.append(f"ignored {count(self.others, 'file')} that {be}: {some(map(as_text, kinds))}")
        if self.hidden:
            notes.append(f"ignored {count(self.hidden, 'hidden file')}")
        for paths, noun, rest in (
            (self.unreadable, "image", " that cannot be read"),
            (self.closed, "folder", " that cannot be listed"),
            (self.special, "special file", " (pipe, socket or device)"),
            (self.dangling, "link", " to a file that is not there"),
            (self.repeated, "link", " to a folder that was read already, or that the link lies in"),
            (self.system, "system file", ""),
        ):
            if paths:
                notes.append(f"ignored {count(paths, noun)}{rest}: {some(_with_reasons(paths))}")
        if self.reduced:
            be = "is" if len(self.reduced) == 1 else "are"
            notes.append(
                f"{count(self.reduced, 'image')} of more than {MOST_DECODED / 1e6:.1f} megapixels {be} decoded at a "
                f"half or a quarter of the sides: {some(map(as_text, self.reduced))}"
            )
        return tuple(notes)

    def left_out(self) -> str:
        """The notes in brackets, for the middle of a sentence; nothing without notes."""
        return f" ({'; '.join(self.notes())})" if self.notes() else ""


def find_images(folder: str, *, recursive: bool, headers: Headers | None = None) -> Files:
    """Lists the images below a folder; links are followed, each real folder once.

    Args:
        folder: where to begin.
        recursive: whether to enter its folders.
        headers: looks at the files; None for the usual way of reading.

    Returns:
        the account of all files. `images` are ordered by path, the files of a folder before those of the folders in
        it. With on_bad_image=skip those that cannot be decoded are among them: decoding leaves them out, and counts.
    """
    files = Files()
    found = list_files(folder, files, recursive=recursive)
    headers = headers or Headers()
    for file, (reason, reduced, refused) in zip(found, headers.look(found), strict=True):
        if refused and headers.reading.on_bad_image == "error":
            files.refused[file.path] = refused
        elif reason is None:
            files.images.append(file)
            files.reduced += [file.path] * reduced
        elif reason == NO_IMAGE and not file.path.lower().endswith(EXTENSIONS):
            files.others.append(file.path)
        else:
            files.unreadable[file.path] = reason
    return files


def list_files(folder: str, files: Files, *, recursive: bool) -> list[Found]:
    """Lists all regular files below a folder without opening one.

    Args:
        folder: where to begin.
        files: takes what is left out.
        recursive: whether to enter its folders.
    """
    found: list[Found] = []
    seen: set[str] = set()
    waiting = [(folder, os.path.realpath(folder))]
    while waiting:
        path, real = waiting.pop()
        if real in seen:
            files.repeated.append(path)
            continue
        seen.add(real)
        entries = _entries(path, files)
        folders = [entry for entry in entries if not _take_file(entry, real, found, files)] if entries else []
        for entry in reversed(folders if recursive else []):
            target = _real_path(entry, real)
            if f"{real}/".startswith(f"{target.rstrip('/')}/"):  # a circle: its images would count for this folder, too
                files.repeated.append(entry.path)
            else:
                waiting.append((entry.path, target))
    return found


def subfolders(folder: str) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones and those of a system.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not _is_left_out(entry.name) and _is_folder(entry)]
            return sorted(names, key=os.fsencode)
    except OSError as error:
        raise InputError(
            f"This folder cannot be listed: {error.strerror}. Received: {as_text(folder)!r}. Change its permissions"
        ) from error


def _entries(folder: str, files: Files) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # By bytes, so that the order is the same in every locale.
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        files.closed[folder] = str(error.strerror)
        return []


def _take_file(entry: os.DirEntry[str], parent: str, found: list[Found], files: Files) -> bool:
    """Puts an entry where it belongs; False for a folder, which is left to be entered."""
    if entry.name.startswith("."):
        files.hidden.append(entry.path)
    elif _is_left_out(entry.name):
        files.system.append(entry.path)
    elif _is_folder(entry):
        return False
    else:
        try:
            regular, facts = entry.is_file(), entry.stat()
        except OSError as error:
            if entry.is_symlink():
                files.dangling.append(entry.path)
            else:
                files.unreadable[entry.path] = str(error.strerror)
            return True
        if not regular:
            files.special.append(entry.path)
        elif facts.st_size == 0 and entry.name.lower().endswith(EXTENSIONS):
            files.unreadable[entry.path] = "empty"
        else:
            # One file under several names: a link that points to it, or a hard link.
            key = f"{facts.st_dev}:{facts.st_ino}" if facts.st_nlink > 1 else _real_path(entry, parent)
            found.append(Found(entry.path, facts.st_size, facts.st_mtime_ns, key))
    return True


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be entered
        return False


def _real_path(entry: os.DirEntry[str], parent: str) -> str:
    return os.path.realpath(entry.path) if entry.is_symlink() else f"{parent}/{entry.name}"


# ---- Words ----


def _with_reasons(paths: Iterable[str]) -> list[str]:
    """Paths as text, those of a dictionary with their reasons."""
    reasons = paths if isinstance(paths, dict) else {}
    return [as_text(path) + (f" ({reasons[path]})" if path in reasons else "") for path in paths]


def count(items: Sized, noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def some(items: Iterable[str], most: int = 5) -> str:
    """The first few items of a list that may be long."""
    listed = list(items)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
