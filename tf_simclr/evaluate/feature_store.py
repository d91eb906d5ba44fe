"""Features on disk: what they are a function of, written atomically, checked byte by byte when they are opened."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import __version__
from tf_simclr.errors import InputError, NotWrittenError
from tf_simclr.files import to_json

# 2: the key says where the images lie and what they are made of.
FORMAT = 2
MANIFEST, FEATURES, LABELS = "manifest.json", "features.npy", "labels.npy"
_PARTIAL = ".partial"

Write = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class StaleCacheError(Exception):
    """A cache is there that must not be used; the message says which and why, in one line."""


@dataclasses.dataclass(frozen=True)
class FeatureKey:
    """All that features are a function of.

    Attributes:
        model: digest of the content of all variables, see `model_digest`.
        compute_dtype: in which the layers compute; two, sorted, where they differ.
        dataset: name of the data set.
        split: name of the split.
        num_examples: of the split.
        location: folder that the images lie in; empty where they have none.
        fingerprint: of their files, see `ImageSource`; empty where there is none.
        reading: what else decides how an image is read, as a JSON text; may be empty.
        data_seed: the seed that the split was opened with.
        image_size: side of the images.
        eval_crop: share of the shorter side that was seen.
        endpoint: name of the endpoint.
    """

    model: str
    compute_dtype: str
    dataset: str
    split: str
    num_examples: int
    location: str
    fingerprint: str
    reading: str
    data_seed: int
    image_size: int
    eval_crop: float
    endpoint: str

    @property
    def name(self) -> str:
        """The name of the cache's directory: the endpoint, for people, and a digest of all fields."""
        text = to_json(dataclasses.asdict(self))
        return f"{self.endpoint}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of a split, in its canonical order.

    Attributes:
        features: float32 [n, d], memory-mapped, read-only.
        labels: int64 [n], memory-mapped, read-only; -1 without a label.
        path: the directory they are in.
    """

    features: np.ndarray
    labels: np.ndarray
    path: str


def require_local(directory: str) -> None:
    """Raises InputError for a directory that cannot be memory-mapped."""
    if "://" in str(directory):
        raise InputError(
            f"The feature cache must be on a local disk, because it is memory-mapped. Received: {directory}. Pass "
            "another directory"
        )


def open_features(directory: str, key: FeatureKey) -> Features:
    """Opens a cache after reading it to the end once, to compare it with the digests in its manifest.

    Raises:
        FileNotFoundError: there is none.
        StaleCacheError: it was left half-written, was damaged, or belongs to something else.
    """
    place = pathlib.Path(directory, key.name)
    if not place.exists():
        _require_no_remains(pathlib.Path(directory), key)
        raise FileNotFoundError(place)
    manifest = _manifest(place)
    _require_same_key(place, manifest, key)
    for file in (FEATURES, LABELS):
        _require_intact(place / file, _part(_part(manifest, "files"), file))
    features = np.load(place / FEATURES, mmap_mode="r", allow_pickle=False)
    labels = np.load(place / LABELS, mmap_mode="r", allow_pickle=False)
    return Features(features, labels, str(place))


def _require_no_remains(directory: pathlib.Path, key: FeatureKey) -> None:
    """Removes what a run that is no more left half-written, and says so."""
    remains = [path for path in directory.glob(f".{key.name}.*{_PARTIAL}") if not _is_being_written(path)]
    for path in remains:
        shutil.rmtree(path, ignore_errors=True)
    if remains:
        raise StaleCacheError(f"the features in {remains[0]} were left half-written by a run that was stopped")


def _partial_path(directory: pathlib.Path, key: FeatureKey) -> pathlib.Path:
    return directory / f".{key.name}.{socket.gethostname()}.{os.getpid()}{_PARTIAL}"


def _is_being_written(path: pathlib.Path) -> bool:
    """Whether the process that a half-written directory is named after may still be at work."""
    host, _, process = path.name.removesuffix(_PARTIAL).partition("-")[2].partition(".")[2].rpartition(".")
    if int(process) == os.getpid():
        return False  # of an earlier failure of this one, or of a process that had the same number
    if host != socket.gethostname() or os.name != "posix":
        return True  # it cannot be asked
    try:
        os.kill(int(process), 0)  # signal 0 only asks whether the process is there
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _manifest(place: pathlib.Path) -> dict[str, Any]:
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StaleCacheError(f"the features in {place} have no readable {MANIFEST}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StaleCacheError(f"the features in {place} are of another format than {FORMAT}")
    return manifest


def _part(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """A named part of a manifest, empty where somebody's hand has spoilt it: then nothing fits."""
    value = manifest.get(name)
    return value if isinstance(value, dict) else {}


def _require_same_key(place: pathlib.Path, manifest: dict[str, Any], key: FeatureKey) -> None:
    stored = _part(manifest, "key")
    wanted = dataclasses.asdict(key)
    differing = [f for f in wanted if f not in stored or stored[f] != wanted[f]]
    if differing:
        field = differing[0]
        raise StaleCacheError(
            f"the features in {place} belong to something else ({field} {stored.get(field)!r} there, "
            f"{wanted[field]!r} here)"
        )


def _require_intact(path: pathlib.Path, recorded: dict[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != recorded.get("bytes"):
            raise StaleCacheError(f"{path} has {size} bytes in place of {recorded.get('bytes')}")
        if _file_digest(path) != recorded.get("sha256"):
            raise StaleCacheError(f"{path} is damaged: its bytes are not those that were written")
    except OSError as error:
        raise StaleCacheError(f"{path} cannot be read ({error.strerror})") from error


def _file_digest(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def written_features(directory: str, key: FeatureKey) -> Iterator[Write]:
    """Writes a cache: all of it is there under its name when the block ends, or nothing when it fails.

    Yields:
        a function (rows int64 [b], features float32 [b, d], labels int64 [b]), to call until all rows were given.

    Raises:
        NotWrittenError: the disk is full, or the directory cannot be written.
    """
    partial = _partial_path(pathlib.Path(directory), key)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        arrays = _Arrays(partial, key.num_examples)
        yield arrays.write
        arrays.flush()
        _write_manifest(partial, key)
        _put_in_place(partial, directory, key)
    except OSError as error:
        raise NotWrittenError(
            f"The features of {key.num_examples} images cannot be written ({error.strerror or error}). Received: "
            f"{directory}. Make room there, or pass another directory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Arrays:
    """The two arrays of a cache, made when the first batch shows how wide the features are."""

    def __init__(self, place: pathlib.Path, num_examples: int):
        self._place, self._rows = place, num_examples
        self._features: np.memmap | None = None
        self._labels = self._new(LABELS, np.int64, (num_examples,))

    def _new(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
        array = np.lib.format.open_memmap(self._place / name, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # A disk that is full is an error here, and would kill the process when the memory map is written to.
            with (self._place / name).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        return array

    def write(self, rows: np.ndarray, features: np.ndarray, labels: np.ndarray) -> None:
        if self._features is None:
            self._features = self._new(FEATURES, np.float32, (self._rows, features.shape[1]))
        self._features[rows], self._labels[rows] = features, labels

    def flush(self) -> None:
        for array in (self._features, self._labels):
            if array is not None:
                array.flush()


def _write_manifest(place: pathlib.Path, key: FeatureKey) -> None:
    manifest = {
        "format": FORMAT,
        "key": dataclasses.asdict(key),
        "files": {
            name: {"bytes": (place / name).stat().st_size, "sha256": _file_digest(place / name)}
            for name in (FEATURES, LABELS)
        },
        "written_by": {"tf_simclr": __version__, "tensorflow": tf.__version__, "numpy": np.__version__},
    }
    with (place / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(to_json(manifest, indent=2, sort_keys=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(partial: pathlib.Path, directory: str, key: FeatureKey) -> None:
    """Renames a complete directory to its name, unless another process did so in the meantime."""
    place = pathlib.Path(directory, key.name)
    if place.exists():
        with contextlib.suppress(StaleCacheError):
            open_features(directory, key)
            return
        shutil.rmtree(place)  # cut off in the middle of this it is stale still
    try:
        partial.rename(place)
    except OSError:
        if not place.exists():  # else the other process came between the question and the renaming
            raise
