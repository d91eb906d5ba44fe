"""Folders of pictures as data sets, with or without labels.

Three layouts are recognised:

- DIR/SPLIT/CLASS/...: splits made by the user; DIR/SPLIT/... without class folders is an unlabelled split;
- DIR/CLASS/...: a seeded, stratified hold-out becomes the evaluation split;
- DIR/...: unlabelled pictures, for pretraining only.

Class folders are read recursively. Hidden files are left out; other files that are not pictures are left out and named.
Only the first bytes of every file are read here; a file that turns out to be damaged further on raises an error that
names it when it is decoded.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.data.decoding import decode_named
from tf_simclr.data.picture_files import EXTENSIONS, count, find_pictures, read_all, some
from tf_simclr.data.source import (
    UNLABELLED,
    ImageSource,
    parse_split,
    records_from_table,
)
from tf_simclr.errors import InputError, require_range

HOLD_OUT = 0.1
HELD_OUT_SPLIT = "held-out"
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing", "dev"}
_SLICE_SEED = 20020509


@dataclasses.dataclass(frozen=True)
class Picture:
    """A readable picture: its path and the number of its class (-1 without classes)."""

    path: str
    label: int


def load_folder(
    data_dir: str | None,
    *,
    train_split: str,
    eval_split: str | None,
    seed: int = 0,
    hold_out: float = HOLD_OUT,
    decoder: str = "auto",
) -> tuple[ImageSource, ImageSource | None]:
    """Finds the pictures below a folder and makes the training and the evaluation split of them.

    Args:
        data_dir: the folder.
        train_split: name of the split to train on, or a slice of it ("train[:10%]", cut from a fixed random order).
        eval_split: name of the split to evaluate on; None for none. In DIR/CLASS/... it only names the hold-out.
        seed: the hold-out depends on it, and on nothing else.
        hold_out: share of each class that is held out in DIR/CLASS/..., in (0, 0.9]; at least one picture.
        decoder: as in `decode_named`.

    Returns:
        the training source, and the evaluation source or None (no labels, or a folder with splits and no `eval_split`).

    Raises:
        InputError: no such folder, no picture, no such split, a class without a readable picture, a picture in a
            format that cannot be decoded, or different classes in the two splits.
    """
    require_range("hold_out", hold_out, above=0, at_most=0.9)
    root = _existing(data_dir)
    if _has_splits(root, train_split):
        train = _split_source(root, train_split, decoder)
        if eval_split is None or not train.labelled:
            return train, None
        evaluation = _split_source(root, eval_split, decoder)
        _require_same_classes(train, evaluation)
        return train, evaluation
    pictures, classes, notes = _read_split(root, decoder)
    if not classes:
        return _source(root, train_split, pictures, (), notes, decoder), None
    # Also where nothing is evaluated now: a later evaluation must find pictures that were not trained on.
    eval_split = eval_split or HELD_OUT_SPLIT
    kept, held = _hold_out(pictures, len(classes), seed, hold_out)
    if not held:
        raise InputError(
            "Every class has one picture only, so that none can be held out for evaluation: add pictures. "
            f"Received: data_dir={str(root)!r}"
        )
    notes += (
        f"{root} has no splits: {len(held)} of its {len(pictures)} pictures ({hold_out:.0%} of each class, at least "
        f"one; seed {seed}) are held out as the split {eval_split!r}",
    )
    train = _source(root, train_split, kept, classes, notes, decoder)
    return train, _source(root, eval_split, held, classes, (), decoder)


# ---- Layout ----


def _existing(data_dir: str | None) -> pathlib.Path:
    if not data_dir:
        raise InputError(
            f"The data set `folder` needs --data_dir=DIR, a folder of pictures. Received: data_dir={data_dir!r}"
        )
    root = pathlib.Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no such folder: check --data_dir. Received: data_dir={data_dir!r}")
    return root


def _subfolders(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _bare_name(split: str) -> str:
    return split.partition("[")[0]


def _has_splits(root: pathlib.Path, train_split: str) -> bool:
    """Whether the folders below `root` are splits rather than classes.

    They are when all of them have names that splits have, or when one that has such a name has class folders. (A class
    may be called "train", too: then its neighbours are called otherwise, and it is flat.)
    """
    names = _subfolders(root)
    like_splits = [n for n in names if n.lower() in _SPLIT_NAMES or n == _bare_name(train_split)]
    return bool(names) and (like_splits == names or any(_subfolders(root / n) for n in like_splits))


def _split_source(root: pathlib.Path, split: str, decoder: str) -> ImageSource:
    folders = _subfolders(root)
    name = _bare_name(split)
    if name not in folders:
        raise InputError(
            f"{root} has no split {name!r}; it has: {', '.join(folders)}. Choose with --train_split and "
            f"--eval_split. Received: split={split!r}"
        )
    return _source(root, split, *_read_split(root / name, decoder), decoder)


def _slice(pictures: Sequence[Picture], split: str) -> Sequence[Picture]:
    """The slice that `split` asks for. It is cut from a fixed random order: the list itself is sorted by class."""
    _, start, stop = parse_split(split, lambda _: len(pictures))
    order = np.random.default_rng(_SLICE_SEED).permutation(len(pictures))[start:stop]
    return [pictures[i] for i in sorted(order)]


def _read_split(folder: pathlib.Path, decoder: str) -> tuple[list[Picture], tuple[str, ...], tuple[str, ...]]:
    """All readable pictures of one split, its class names (none when it is flat), and what was left out."""
    classes = tuple(_subfolders(folder))
    files = find_pictures(folder, recursive=False, decoder=decoder)
    if not classes:
        if not files.pictures:
            raise InputError(
                f"There is no readable picture ({', '.join(EXTENSIONS)}) in this folder{files.left_out()}. "
                f"Received: {str(folder)!r}"
            )
        notes = (*files.notes(), f"{folder} has no class folders: unlabelled, for pretraining only")
        return [Picture(path, UNLABELLED) for path in files.pictures], (), notes
    pictures: list[Picture] = []
    for label, name in enumerate(classes):
        found = find_pictures(folder / name, recursive=True, decoder=decoder)
        if not found.pictures:
            raise InputError(
                f"The class {name!r} has no readable picture{found.left_out()}: add pictures "
                f"({', '.join(EXTENSIONS)}) or remove the folder. Received: {str(folder / name)!r}"
            )
        pictures += [Picture(path, label) for path in found.pictures]
        files.add_left_out(found)
    notes = files.notes()
    if files.pictures:
        notes += (f"ignored {count(files.pictures, 'picture')} outside the class folders of {folder}",)
    if len(classes) == 1:
        notes += (f"{folder} has one class only ({classes[0]!r}): every accuracy on it is 100%",)
    return pictures, classes, notes


def _require_same_classes(train: ImageSource, evaluation: ImageSource) -> None:
    missing = [name for name in train.class_names if name not in evaluation.class_names]
    extra = [name for name in evaluation.class_names if name not in train.class_names]
    if missing or extra:
        differences = [
            f"only in {split!r}: {some(names)}"
            for split, names in ((train.split, missing), (evaluation.split, extra))
            if names
        ]
        raise InputError(
            "The training and the evaluation split must have the same class folders. "
            f"Received: {'; '.join(differences)}"
        )


def _hold_out(
    pictures: Sequence[Picture], num_classes: int, seed: int, share: float
) -> tuple[list[Picture], list[Picture]]:
    """Moves round(share * n) pictures of every class, at least one, out of the list; a single picture stays."""
    members: list[list[int]] = [[] for _ in range(num_classes)]
    for position, picture in enumerate(pictures):
        members[picture.label].append(position)
    held: set[int] = set()
    for label, positions in enumerate(members):
        if len(positions) > 1:
            number = min(max(1, round(share * len(positions))), len(positions) - 1)
            order = np.random.default_rng([seed % 2**63, label]).permutation(len(positions))
            held.update(positions[i] for i in order[:number])
    kept = [p for i, p in enumerate(pictures) if i not in held]
    return kept, [p for i, p in enumerate(pictures) if i in held]


# ---- Source ----


def _read(path: tf.Tensor) -> tf.Tensor:
    """A path -> [content, path]."""
    return tf.stack([tf.io.read_file(path), path])


def _decode(data: tf.Tensor, decoder: str) -> tf.Tensor:
    """A path, or what `_read` makes of it -> the picture."""
    content, path = tf.unstack(_read(data) if data.shape.rank == 0 else data)
    return decode_named(content, path, decoder)


def _source(
    root: pathlib.Path,
    split: str,
    pictures: Sequence[Picture],
    classes: tuple[str, ...],
    notes: tuple[str, ...],
    decoder: str,
) -> ImageSource:
    pictures = _slice(pictures, split)
    index = np.arange(len(pictures))
    labels = np.array([picture.label for picture in pictures], np.int64)
    paths = [os.fsencode(picture.path) for picture in pictures]
    source = ImageSource(
        name=f"folder {root}",
        split=split,
        num_examples=len(pictures),
        num_classes=len(classes),
        class_names=classes,
        image_shape=None,
        records=records_from_table(index, labels, tf.constant(paths)),
        decode=functools.partial(_decode, decoder=decoder),
        notes=notes,
        read=_read,
    )

    def load() -> ImageSource:
        data = tf.stack([tf.constant(read_all(paths)), tf.constant(paths)], axis=1)
        return dataclasses.replace(
            source,
            records=records_from_table(index, labels, data),
            load=None,
            read=None,
        )

    return dataclasses.replace(source, load=load)
