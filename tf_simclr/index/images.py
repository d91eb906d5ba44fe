"""Which images an index is made of, and how some of them are read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np

from tf_simclr.config import FOLDER, DataConfig
from tf_simclr.data.bad_images import good_examples
from tf_simclr.data.datasets import build_splits
from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.label_table import examples
from tf_simclr.data.listing import ListedSplit, Listing, part_of, relative_paths
from tf_simclr.data.request import request_of
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.index.rows import Row, fingerprint_of, shard_of


@dataclasses.dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes:
        rows: of the index, in the canonical order of the split.
        read: positions int64 [n], ascending, of some rows -> their source, and the rows that it has. These are fewer
            where damaged images are left out.
        notes: lines that a person should see.
        listed: positions int64 [n], ascending, of some rows -> their files, for other processes; None for images that
            are no files of a folder.
    """

    rows: list[Row]
    read: Callable[[np.ndarray], tuple[ImageSource, list[Row]]]
    notes: tuple[str, ...] = ()
    listed: Callable[[np.ndarray], ListedSplit] | None = None

    def shard(self, number: int, shards: int) -> Part:
        """Those of the images that belong to one of several shards."""
        places = np.array([p for p, row in enumerate(self.rows) if shard_of(row.path, shards) == number], np.int64)
        rows = [self.rows[place] for place in places.tolist()]
        return Part(rows, lambda positions: self.read(places[positions]), self.notes)


def open_parts(data: DataConfig, splits: Sequence[str], flag: str = "embed_split") -> list[Part]:
    """The images of a data set.

    Args:
        data: which, and how they are read.
        splits: names; none for every split of a folder, and for the training split of another data set.
        flag: that names them, for messages.

    Raises:
        InputError: no such folder, split or data set, or two splits that share an image.
    """
    parts = (
        _folder_parts(data, splits, flag)
        if data.dataset == FOLDER
        else _other_parts(data, splits or (data.train_split,))
    )
    seen: set[str] = set()
    for part in parts:
        paths = {row.path for row in part.rows}
        if shared := seen & paths:
            raise InputError(f"Splits must not share images. Received: {as_text(min(shared))!r} in two of {splits}")
        seen |= paths
    return parts


# ---- Folders ----


def _folder_parts(data: DataConfig, splits: Sequence[str], flag: str) -> list[Part]:
    layout = whole_folder(request_of(data, eval_split=None))
    if splits and not layout.splits:
        raise InputError(
            f"`{flag}` must be left out for a folder without splits. Received: {', '.join(splits)} for "
            f"{as_text(layout.root)!r}. Leave it out"
        )
    unknown = [split for split in splits if split not in layout.splits]
    if unknown:
        raise InputError(
            f"`{flag}` must name splits of {as_text(layout.root)!r}: {', '.join(map(as_text, layout.splits))}. "
            f"Received: {', '.join(unknown)}. Choose among these, or leave it out"
        )
    names = list(splits or layout.splits) or [""]
    parts = [_folder_part(layout.root, name, layout.read(name), data.on_bad_image == "skip") for name in names]
    return [dataclasses.replace(parts[0], notes=(*layout.notes, *parts[0].notes)), *parts[1:]]


def source_of_files(listed: ListedSplit) -> ImageSource:
    """The images of files, of the split "" where the folder has none."""
    return folder_source(dataclasses.replace(listed, split=listed.split or "all"))


def rows_of(listed: ListedSplit) -> list[Row]:
    """The rows of files, in the order of the listing."""
    rows, listing = [], listed.listing
    for name, file, label in zip(relative_paths(listed.root, listing), listing.files, listing.labels, strict=True):
        path = os.fsdecode(name)
        of_class = listing.classes[label] if listing.classes else ""
        rows.append(Row(path, of_class, listed.split, file.size, fingerprint_of(path, file.size, file.changed)))
    return rows


def _folder_part(root: str, split: str, listing: Listing, skip: bool) -> Part:
    rows = rows_of(ListedSplit(root, split, listing))

    def listed(positions: np.ndarray) -> ListedSplit:
        chosen: np.ndarray = np.zeros(len(rows), bool)
        chosen[positions] = True
        return ListedSplit(root, split, part_of(listing, chosen))

    def source_of(positions: np.ndarray) -> tuple[ImageSource, list[Row]]:
        return source_of_files(listed(positions)), [rows[position] for position in positions.tolist()]

    def read(positions: np.ndarray) -> tuple[ImageSource, list[Row]]:
        source, of_source = source_of(positions)
        if not skip:
            return source, of_source
        good = good_examples(source, len(rows))[1]
        return source_of(positions[good]) if good.any() else (source, [])

    return Part(rows, read, listing.notes, listed)


# ---- Other data sets ----


def _other_parts(data: DataConfig, splits: Sequence[str]) -> list[Part]:
    parts = []
    for split in splits:
        source = build_splits(dataclasses.replace(data, train_split=split), eval_split=None).train
        parts.append(_other_part(source))
    return parts


def _other_part(source: ImageSource) -> Part:
    index, labels = _index_and_labels(source)
    rows = []
    for number, label in zip(index.tolist(), labels.tolist(), strict=True):
        path = f"{source.split}/{number:08d}"
        of_class = source.class_names[label] if label >= 0 else ""
        rows.append(Row(path, of_class, source.split, 0, fingerprint_of(path, source.fingerprint)))

    def read(positions: np.ndarray) -> tuple[ImageSource, list[Row]]:
        chosen = [rows[position] for position in positions.tolist()]
        whole = len(chosen) == len(rows)
        return source if whole else examples(source, index[positions], positions), chosen

    return Part(rows, read, source.notes)


def _index_and_labels(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n] each, in the canonical order, read without decoding an image."""
    batches = source.records(None).map(lambda record: (record["index"], record["label"])).batch(4096)
    index, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(index), np.concatenate(labels)
