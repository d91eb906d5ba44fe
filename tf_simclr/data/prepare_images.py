"""Writes a prepared folder: the images of a folder as records, by the writer of TensorFlow Datasets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.bad_images import require_few_bad
from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.listing import ListedSplit, Listing, relative_paths
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.prepared import PREPARED_FILE, Preparation, Prepared, PreparedSplit
from tf_simclr.data.prepared_list import CHANGES, IMAGES_FILE, StoredImage, images_to_bytes
from tf_simclr.data.shard_source import IMAGE, LABEL, NUMBER, PATH
from tf_simclr.data.shrinking import Stored, shrunk
from tf_simclr.data.tfds_builder import import_tfds, open_directory
from tf_simclr.files import write_json, write_whole

DATASET = "prepared_folder"
IMAGES_A_FILE = 4096
_AT_A_TIME = 256
_NO_LABEL = -1  # of ClassLabel
_plain = tf.autograph.experimental.do_not_convert
Progress = Callable[[int, int], None]
Shrunk = Callable[[ListedSplit], Iterator[tuple[bytes, int]]]


def write_prepared(
    listings: dict[str, Listing],
    preparation: Preparation,
    directory: str,
    *,
    progress: Progress = lambda done, total: None,
    images_a_file: int = IMAGES_A_FILE,
    shrunk: Shrunk | None = None,
    extra: dict[str, Any] | None = None,
) -> tuple[Prepared, list[StoredImage]]:
    """Writes the images of a folder into a directory that others do not see yet.

    Args:
        listings: name of each split ("" for a folder without splits) -> its images.
        preparation: of what, and how.
        directory: new and empty.
        progress: takes how many of how many images are done.
        images_a_file: records of each file, except for the last of a split.
        shrunk: gives what is stored of each image; None for `shrunk_images`.
        extra: what else `PREPARED_FILE` is to say.

    Returns:
        what was written, and its images.

    Raises:
        InputError: an image that cannot be decoded, or too many of them.
    """
    work = _Work(directory, listings, shrunk or partial(shrunk_images, side=preparation.side), progress, images_a_file)
    names = records_names(list(listings))
    for split, listing in listings.items():
        work.write(ListedSplit(preparation.source, split or "all", listing), names[split])
    work.writer.close_all()
    parts = _parts(directory, listings, names)
    write_whole(os.path.join(directory, IMAGES_FILE), images_to_bytes(work.images))
    files = {name: os.path.getsize(os.path.join(directory, name)) for name in sorted(os.listdir(directory))}
    prepared = Prepared(directory, preparation, parts, files, tuple(work.damaged))
    write_json(os.path.join(directory, PREPARED_FILE), prepared.to_json() | (extra or {}))
    return prepared, work.images


def records_names(splits: list[str]) -> dict[str, str]:
    """The names of splits in TensorFlow Datasets, which takes letters, digits and underscores, and not `all`."""
    good = re.compile(r"(?!split_\d+$|all$)[a-z]\w*", re.ASCII | re.IGNORECASE)
    return {
        split: split if good.fullmatch(split) else f"split_{number}" if split else "train"
        for number, split in enumerate(splits)
    }


def _parts(directory: str, listings: dict[str, Listing], names: dict[str, str]) -> tuple[PreparedSplit, ...]:
    """The splits, with their files as TensorFlow Datasets reads them."""
    splits = open_directory(import_tfds(DATASET, ()), directory).info.splits
    parts = []
    for split, listing in listings.items():
        found = splits[names[split]].file_instructions
        files, lengths = [os.path.basename(part.filename) for part in found], [int(part.take) for part in found]
        parts.append(PreparedSplit(split, names[split], list(listing.classes), files, lengths))
    return tuple(parts)


class _Work:
    """Writes one split after the other, and keeps the list of what was written.

    Args:
        directory: new and empty.
        listings: of all splits.
        shrunk: as in `write_prepared`.
        progress: likewise.
        images_a_file: likewise.
    """

    def __init__(
        self, directory: str, listings: dict[str, Listing], shrunk: Shrunk, progress: Progress, images_a_file: int
    ):
        self.images: list[StoredImage] = []
        self.damaged: list[str] = []
        self._shrunk, self._progress = shrunk, progress
        self._total, self._done = sum(len(listing.files) for listing in listings.values()), 0
        self._file_numbers: dict[str, int] = {}
        self._classes = list(dict.fromkeys(_class(name) for one in listings.values() for name in one.classes))
        self.writer = _writer(directory, self._classes, images_a_file)

    def write(self, listed: ListedSplit, records: str) -> None:
        """Writes a split.

        Raises:
            InputError: an image that cannot be decoded, or too many of them.
        """
        names, bad = relative_paths(listed.root, listed.listing), []
        self.writer.initialize_splits([records])
        examples: list[dict[str, Any]] = []
        before = len(self.images)
        for place, (content, change) in enumerate(self._shrunk(listed)):
            self._done += 1
            if change < 0:
                bad.append(names[place])
                require_few_bad(bad, len(names), f"{listed.split!r} of {listed.name}")
                continue
            image = self._described(listed.listing, place, names[place], records, content, change)
            number = len(self.images) - before
            examples.append({IMAGE: content, PATH: names[place], NUMBER: number, **self._label(image.label)})
            self.images.append(image)
            if len(examples) == _AT_A_TIME:
                self._add(records, examples)
                examples = []
        self._add(records, examples)
        self.writer.close_splits([records])
        self.damaged += map(os.fsdecode, bad)

    def _described(
        self, listing: Listing, place: int, name: bytes, records: str, content: bytes, change: int
    ) -> StoredImage:
        file, label = listing.files[place], listing.labels[place]
        return StoredImage(
            path=os.fsdecode(name),
            label=listing.classes[label] if listing.classes else "",
            split=records,
            size=len(content),
            digest=hashlib.blake2b(content, digest_size=8).hexdigest(),
            file=self._file_numbers.setdefault(file.key, len(self._file_numbers)),
            change=CHANGES[change],
        )

    def _label(self, name: str) -> dict[str, Any]:
        """The feature of the class; none in a folder without classes."""
        return {LABEL: _class(name) if name else _NO_LABEL} if self._classes else {}

    def _add(self, records: str, examples: list[dict[str, Any]]) -> None:
        self.writer.add_examples({records: examples})
        self._progress(self._done, self._total)


def _writer(directory: str, classes: list[str], images_a_file: int) -> Any:
    tfds = import_tfds("folder", ())
    features = {
        IMAGE: tfds.features.Image(shape=(None, None, 3)),
        PATH: tfds.features.Text(),
        NUMBER: np.int64,
        **({LABEL: tfds.features.ClassLabel(names=classes)} if classes else {}),
    }
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name=DATASET, version=tfds.core.Version("1.0.0"), data_dir=directory, module_name=__name__
        ),
        description="A folder of images, prepared by `python -m tf_simclr prepare`.",
        features=tfds.features.FeaturesDict(features),
        supervised_keys=(IMAGE, LABEL) if classes else None,
    )
    return tfds.core.SequentialWriter(info, max_examples_per_shard=images_a_file)


def _class(name: str) -> str:
    r"""A class name that TensorFlow Datasets reads as it was written: it strips each line of its list."""
    inner = name.strip()
    before, _, after = name.partition(inner) if inner else (name, "", "")
    return "".join(f"\\x{ord(c):02x}" for c in before) + inner + "".join(f"\\x{ord(c):02x}" for c in after)


def shrunk_images(listed: ListedSplit, side: int) -> Iterator[tuple[bytes, int]]:
    """What is stored of each image, in their order, and what was done with it, as in `Stored`."""
    source, reading = folder_source(listed), listed.listing.reading
    files = source.decode
    assert isinstance(files, FileDecoder)
    absent = Stored(tf.constant(b""), tf.constant(-1))

    def stored(record: dict[str, tf.Tensor]) -> Stored:
        pair = tf.stack(files.unpack(record["data"]))
        if reading.on_bad_image == "error":
            return shrunk(pair[0], pair[1], side, reading)
        attempt = tf.data.Dataset.from_tensors(pair).map(_plain(lambda pair: shrunk(pair[0], pair[1], side, reading)))
        return attempt.ignore_errors().concatenate(tf.data.Dataset.from_tensors(absent)).take(1).get_single_element()

    dataset = source.records(None).map(_plain(stored), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    for found in dataset.as_numpy_iterator():
        yield found.content, int(found.change)
