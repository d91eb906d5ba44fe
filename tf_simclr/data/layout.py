"""How a folder of images is understood: which of its folders are splits and which are classes."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable

from tf_simclr.data.headers import Headers, remembered_headers
from tf_simclr.data.image_files import AS_USUAL, EXTENSIONS, Reading
from tf_simclr.data.known_split import UNLABELLED
from tf_simclr.data.labels_file import LabelsFile, class_names, read_labels
from tf_simclr.data.listing import Listing
from tf_simclr.data.prepared import is_prepared, open_prepared
from tf_simclr.data.scan import Files, Found, count, find_images, some, subfolders
from tf_simclr.data.split_names import bare_name
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text

# The names that a split may have in a folder, those of one meaning together.
_TRAIN, _VALIDATION, _TEST = ("train", "training"), ("validation", "val", "valid", "dev"), ("test", "testing")
SPLIT_NAMES = frozenset((*_TRAIN, *_VALIDATION, *_TEST))


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        root: absolute path.
        splits: names of the splits that its owner made; none where there are none.
        read: name of one of them (any text without splits) -> its images; only then are its files looked at, once.
        asked: the arguments of `recognise_layout`.
        notes: lines that a person should see.
    """

    root: str
    splits: tuple[str, ...]
    read: Callable[[str], Listing]
    asked: tuple[str, str, str | None, Reading]
    notes: tuple[str, ...] = ()


def recognise_layout(root: str, train_split: str, labels: str | None = None, reading: Reading = AS_USUAL) -> Layout:
    """Finds out how a folder is laid out.

    - A prepared folder: as the folder that it was made of.
    - With a table of labels: splits where it has that column, no splits otherwise.
    - ROOT/SPLIT/...: the folders below the root are splits when all of them have names that splits have, or when one
      that has such a name has folders below it. (A class may be called "train", too: then its neighbours are called
      otherwise, and it is flat.)
    - ROOT/CLASS/SPLIT/...: two or more names of splits among the folders below the classes.
    - Everything else: no splits.

    Args:
        root: absolute path of an existing folder.
        train_split: name of the split to train on, which may be one that splits do not have usually.
        labels: path of a table of labels; None for none.
        reading: how the files are to be read.

    Raises:
        InputError: a folder that cannot be listed, a layout in which only some classes have splits, or a table that
            cannot be used.
    """
    splits, read, notes = _recognised(root, train_split, labels, reading)
    return Layout(root, splits, functools.cache(read), (root, train_split, labels, reading), notes)


_Recognised = tuple[tuple[str, ...], Callable[[str], Listing], tuple[str, ...]]


def _recognised(root: str, train_split: str, labels: str | None, reading: Reading) -> _Recognised:
    """Splits, how one is read, and notes."""
    if is_prepared(root):
        prepared = open_prepared(root, labels)
        return prepared.splits, lambda split: prepared.read(split, reading), prepared.notes
    if labels is not None:
        return _table_layout(root, labels, reading)
    names = subfolders(root)
    bare = bare_name(train_split)
    like_splits = [name for name in names if _is_split(name, bare)]
    if names and (like_splits == names or any(subfolders(os.path.join(root, name)) for name in like_splits)):
        return tuple(names), lambda split: _read_classes(os.path.join(root, split), reading), ()
    inner = {name: subfolders(os.path.join(root, name)) for name in names}
    splits = sorted({split for below in inner.values() for split in below if _is_split(split, bare)})
    if len({split.lower() for split in splits}) < 2:
        return (), lambda _: _read_classes(root, reading), ()
    without = [name for name, below in inner.items() if not set(splits) & set(below)]
    if without:
        raise InputError(
            f"Either every class folder must have folders for its splits, or none. Received: {as_text(root)!r}, where "
            f"some have {some(splits)} and these have not: {some(map(as_text, without))}. Sort them alike"
        )
    note = f"{as_text(root)} has its splits below the class folders: {', '.join(map(as_text, splits))}"
    others = [f"{name}/{other}" for name, below in inner.items() for other in below if other not in splits]
    ignored = [f"ignored {count(others, 'folder')} beside these splits: {some(map(as_text, others))}"] * bool(others)
    return tuple(splits), lambda split: _read_below_classes(root, inner, split, reading), (note, *ignored)


def _is_split(name: str, train_split: str) -> bool:
    return name.lower() in SPLIT_NAMES or name == train_split


# ---- Names of splits ----


def find_split(layout: Layout, split: str, *, for_evaluation: bool) -> tuple[str, str | None]:
    """Finds the split of a layout that is meant by a name.

    Args:
        layout: one with splits.
        split: the name, perhaps with a slice. Where there is none of that name, one that means the same is taken, as
            val for validation.
        for_evaluation: whether "validation", the default, may also mean a test split.

    Returns:
        the name there, with the slice, and a note where it is another one.

    Raises:
        InputError: there is none.
    """
    wanted = bare_name(split)
    if wanted in layout.splits:
        return split, None
    folded = {name.lower(): name for name in reversed(layout.splits)}
    same = next((group for group in (_TRAIN, _VALIDATION, _TEST) if wanted.lower() in group), ())
    candidates = (wanted.lower(), *same, *(_TEST if for_evaluation and same == _VALIDATION else ()))
    found = next((folded[name] for name in candidates if name in folded), None)
    if found is None:
        raise InputError(_no_such_split(layout, split, for_evaluation))
    note = f"{as_text(layout.root)} has no split {wanted!r}: the split {found!r} is taken"
    return found + split[len(wanted) :], note


def _no_such_split(layout: Layout, split: str, for_evaluation: bool) -> str:
    root = as_text(layout.root)
    remedy = "Choose with --train_split and --eval_split"
    if for_evaluation and len(layout.splits) == 1:
        remedy = (
            f"Add a folder for it, or pass --data_dir={os.path.join(root, layout.splits[0])} for a part of each class "
            "to be held out"
        )
    return (
        f"{root} has no split {bare_name(split)!r}; it has: {', '.join(map(as_text, layout.splits))}. {remedy}. "
        f"Received: split={split!r}"
    )


# ---- Class folders ----


def _read_classes(folder: str, reading: Reading) -> Listing:
    """All images below a folder of class folders; without any, those in the folder itself, unlabelled."""
    names = subfolders(folder)
    with remembered_headers(folder, reading) as headers:
        files = find_images(folder, recursive=False, headers=headers)
        if names:
            return _collect({name: os.path.join(folder, name) for name in names}, files, folder, headers)
    files.require_decodable()
    if not files.images:
        raise InputError(
            f"There is no readable image ({', '.join(EXTENSIONS)}) in this folder{files.left_out()}. "
            f"Received: {as_text(folder)!r}"
        )
    notes = (*files.notes(), f"{as_text(folder)} has no class folders: its images have no labels")
    return Listing(files.images, [UNLABELLED] * len(files.images), (), notes, reading)


def _read_below_classes(root: str, inner: dict[str, list[str]], split: str, reading: Reading) -> Listing:
    """All images of ROOT/CLASS/SPLIT; what lies beside the split folders is counted."""
    outside = Files()
    folders = {name: os.path.join(root, name, split) for name, below in inner.items() if split in below}
    with remembered_headers(os.path.join(root, "*", split), reading) as headers:
        for name in inner:
            beside = find_images(os.path.join(root, name), recursive=False, headers=headers)
            outside.images += beside.images
            outside.add_left_out(beside)
        return _collect(folders, outside, root, headers)


def _collect(folders: dict[str, str], files: Files, folder: str, headers: Headers) -> Listing:
    """The images below the folder of each class; `files` has what lies outside of them."""
    found: list[Found] = []
    labels: list[int] = []
    outside = [*(file.path for file in files.images), *files.refused]
    files.refused = {}
    for label, (name, path) in enumerate(folders.items()):
        own = find_images(path, recursive=True, headers=headers)
        if not own.images and not own.refused:
            raise InputError(
                f"The class {as_text(name)!r} has no readable image{own.left_out()}: add images "
                f"({', '.join(EXTENSIONS)}) or remove the folder. Received: {as_text(path)!r}"
            )
        found += own.images
        labels += [label] * len(own.images)
        files.add_left_out(own)
    files.require_decodable()
    classes = tuple(map(as_text, folders))
    notes = files.notes()
    if outside:
        notes += (f"ignored {count(outside, 'image')} outside the class folders of {as_text(folder)}",)
    if len(classes) == 1:
        notes += (f"{as_text(folder)} has one class only ({classes[0]!r}): every accuracy on it is 100%",)
    return Listing(found, labels, classes, notes, headers.reading)


# ---- Tables ----


def _table_layout(root: str, labels: str, reading: Reading) -> _Recognised:
    with remembered_headers(root, reading) as headers:
        files = find_images(root, recursive=True, headers=headers)
    known = {os.path.relpath(file.path, root): file for file in files.images}
    every = known.keys() | {os.path.relpath(path, root) for path in (*files.others, *files.unreadable, *files.refused)}
    table = read_labels(labels, root, every)
    named = {row.path for row in table.rows}
    files.refused = {path: why for path, why in files.refused.items() if os.path.relpath(path, root) in named}
    files.require_decodable()
    left = [name for name in known if name not in named]
    notes = (*files.notes(), *table.notes)
    if left:
        notes += (f"ignored {count(left, 'image')} that {labels} does not name: {some(map(as_text, left))}",)
    return table.splits, lambda split: _read_table(table, known, split, reading), notes


def _read_table(table: LabelsFile, known: dict[str, Found], split: str, reading: Reading) -> Listing:
    rows = [row for row in table.rows if row.path in known and (row.split == split or not table.splits)]
    if not rows:
        raise InputError(
            f"`labels` must name an image that can be read. Received: none{f' for {split!r}' if table.splits else ''}. "
            "Add some to the table"
        )
    classes = class_names(row.label for row in rows)
    number = {name: label for label, name in enumerate(classes)}
    return Listing([known[row.path] for row in rows], [number[row.label] for row in rows], classes, (), reading)
