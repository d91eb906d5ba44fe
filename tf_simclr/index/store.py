"""An index on disk: index.json names a file of features and a file of rows, and says which network made them.

An index is replaced as a whole: new files get names of their own, and index.json, which is replaced last, names them.
It needs no TensorFlow. It lies on a local disk, because its features are mapped into memory.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_simclr.config.paths import is_remote
from tf_simclr.data.prepared import folder_of_files
from tf_simclr.errors import InputError
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.coarse import Coarse, lengths
from tf_simclr.index.rows import Row, StoredRows
from tf_simclr.stored import DamagedFileError, parse_object, require_types

INDEX_FILE = "index.json"
FORMAT = 1
_BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Identity:
    """What the features of an index depend on, apart from the images: equal in all of its rows.

    Attributes:
        network: digest of the values of the network.
        endpoint: of the network.
        image_size: side of the images that the network saw, in pixels.
        reading: what else decides how an image is read, by name.
        dtype: of the stored numbers: float32 or float16.
        dataset: what the images are of, as --dataset.
        data_dir: the folder, absolute; "" without one.
    """

    network: str
    endpoint: str
    image_size: int
    reading: dict[str, Any]
    dtype: str
    dataset: str
    data_dir: str

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of all of it."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What index.json holds.

    Attributes:
        format: of the files, FORMAT.
        identity: as `Identity`.
        checkpoint: where the network was read from, absolute.
        shard: "I/N" where these are a part of the images only; "" for all of them.
        features: name of the file of features.
        rows: name of the file of rows.
        sizes: bytes of the two files, by name.
        written_by: versions of the software, and the command.
        coarse: names of the files of `Coarse`, the basis and the bounds; none without it.
    """

    format: int
    identity: dict[str, Any]
    checkpoint: str
    shard: str
    features: str
    rows: str
    sizes: dict[str, int]
    written_by: dict[str, Any]
    coarse: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Features and what they are of.

    Attributes:
        directory: of the index.
        facts: of index.json.
        identity: the same as in the facts.
        features: float32 or float16 [n, d], mapped into memory, read-only.
        rows: n of them, ordered by path.
        coarse: by which a large index is searched faster; None without it.
    """

    directory: str
    facts: Facts
    identity: Identity
    features: np.ndarray
    rows: Sequence[Row]
    coarse: Coarse | None = None

    @property
    def token(self) -> str:
        """What its files are named for: the identity, and the rows."""
        return self.facts.features.removeprefix("features-").removesuffix(".npy")

    @functools.cached_property
    def norms(self) -> np.ndarray:
        """float32 [n], the length of each feature; 1 for one that is 0 everywhere, which is similar to nothing."""
        return np.concatenate([lengths(block) for _, block in self.blocks()])

    def blocks(self, size: int = _BLOCK) -> Iterable[tuple[int, np.ndarray]]:
        """First row and features float32 [b, d] of every part of the index, so that memory stays bounded."""
        for first in range(0, len(self.features), size):
            yield first, np.asarray(self.features[first : first + size], np.float32)

    def part(self, rows: np.ndarray) -> Index:
        """Some rows of the index, int64 [m], as an index in memory."""
        chosen = [self.rows[place] for place in rows.tolist()]
        return dataclasses.replace(self, features=self.features[rows], rows=chosen, coarse=None)

    def place_of(self, path: str) -> int | None:
        """The first row with a path; None without one."""
        if isinstance(self.rows, StoredRows):
            return self.rows.place_of(path)
        return next((place for place, row in enumerate(self.rows) if row.path == path), None)

    def path_of(self, row: int) -> str:
        """The path of a row's file, which may be gone; "" where the images are no files."""
        root = self.files_in
        return os.path.join(root, self.rows[row].path) if root and self.rows[row].size else ""

    @functools.cached_property
    def files_in(self) -> str:
        """The folder where the files lie, or lay; "" where the images are no files."""
        return folder_of_files(self.identity.data_dir) if self.identity.data_dir else ""

    def normalised(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The features of some rows, float32 [k, d], each of length 1."""
        features = np.asarray(self.features[rows], np.float32)
        return features / lengths(features)[:, np.newaxis]


def require_local(directory: str) -> None:
    """Raises InputError for a directory that cannot be mapped into memory."""
    if is_remote(directory):
        raise InputError(
            f"An index must lie on a local disk, because it is mapped into memory. Received: {directory}. Pass another "
            "directory, and copy it afterwards"
        )


def open_index(directory: str) -> Index:
    """Opens an index; its features are not read yet.

    Raises:
        InputError: there is none, it is damaged, or another version of the program wrote it.
    """
    require_local(directory)
    index = find_index(directory)
    if index is None:
        raise InputError(
            f"`index` must be a directory that embed has written. Received: {directory}, which has no {INDEX_FILE}. "
            f"{_where_else(directory)}"
        )
    if index.facts.shard:
        raise InputError(
            f"`index` must hold all images. Received: {directory}, which is part {index.facts.shard}. Embed the others "
            "and pass --merge"
        )
    return index


def _where_else(directory: str) -> str:
    """What to do where a directory is no index: often it is the run that the index lies in."""
    below = os.path.join(directory, "index")
    if os.path.isfile(os.path.join(below, INDEX_FILE)):
        return f"There is one in it: --index={below}"
    return f"Run: python -m tf_simclr embed --checkpoint=RUN --data_dir=FOLDER --out={directory}"


def find_index(directory: str) -> Index | None:
    """The index in a directory; None where there is none.

    Raises:
        InputError: it is damaged, or another version of the program wrote it.
    """
    place = os.path.join(directory, INDEX_FILE)
    files = file_system_of(place)
    if not files.exists(place):
        return None
    values = parse_object(files.read(place), place)
    if values.get("format") != FORMAT:
        raise InputError(
            f"An index must have the format {FORMAT}. Received: {values.get('format')!r} in {place}, of another "
            "version of this program. Embed the images again into another directory"
        )
    facts = _built(Facts, values, place)
    identity = _built(Identity, facts.identity, place)
    for name in (facts.features, facts.rows, *facts.coarse):
        _require_whole(os.path.join(directory, name), facts.sizes.get(name))
    rows_place = os.path.join(directory, facts.rows)
    rows = StoredRows(files.read(rows_place), rows_place)
    features_place = os.path.join(directory, facts.features)
    features = mapped(features_place)
    if features.ndim != 2 or len(features) != len(rows) or features.dtype != identity.dtype:
        raise DamagedFileError(
            f"{features_place} does not fit its {len(rows)} rows. Received: {features.dtype} {features.shape}. Embed "
            "the images again into another directory"
        )
    coarse = Coarse(*(mapped(os.path.join(directory, name)) for name in facts.coarse)) if facts.coarse else None
    return Index(directory, facts, identity, features, rows, coarse)


def require_same(
    before: Index,
    identity: Identity,
    wanted: str = "`out` must be a new directory, or an index of the same network and images",
    remedy: str = "Pass another --out",
) -> None:
    """Raises InputError, with what is wanted and what to do, where an index is of another network or other images."""
    there, here = dataclasses.asdict(before.identity), dataclasses.asdict(identity)
    differing = [name for name in here if there[name] != here[name]]
    if differing:
        shown = ", ".join(f"{name} {there[name]!r} there and {here[name]!r} here" for name in differing)
        raise InputError(f"{wanted}. Received: {before.directory}, with {shown}. {remedy}")


def _built(kind: Any, values: dict[str, Any], place: str) -> Any:
    require_types(values, kind, place)
    try:
        return kind(**values)
    except TypeError as error:
        raise DamagedFileError(f"{place} has the fields of no index. Received: {sorted(values)}: {error}") from error


def _require_whole(path: str, size: int | None) -> None:
    found = os.path.getsize(path) if os.path.isfile(path) else None
    if found is None or found != size:
        raise DamagedFileError(
            f"An index must be whole. Received: {path} with {found} bytes in place of {size}. Embed the images again "
            "into another directory"
        )


def mapped(path: str) -> np.ndarray:
    """An array in a file, mapped into memory. Raises DamagedFileError where it is none."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DamagedFileError(
            f"{path} is damaged. Received: {' '.join(str(error).split())}. Embed the images into another directory"
        ) from error
