"""Images in two dimensions, similar ones close to each other: by UMAP, or by principal components."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_simclr.errors import InputError
from tf_simclr.index.store import Index
from tf_simclr.optional import require_scikit_learn, umap
from tf_simclr.processes import temporary_of

_KEPT = re.compile(r"map-[0-9a-f]{8}-[0-9a-f]{8}\.(umap|pca)\.npy")
# Principal components are those of so many images, drawn at random.
_SAMPLE = 20_000
# UMAP joins each image with 15 others, of the components that hold nearly all of what differs.
_NEIGHBOURS, _COMPONENTS, _LEAST_FOR_UMAP = 15, 50, 50


@dataclasses.dataclass(frozen=True)
class ImageMap:
    """Where images lie on a map.

    Attributes:
        places: float32 [n, 2], finite.
        method: umap or pca.
    """

    places: np.ndarray
    method: str


def image_map(index: Index, method: str = "auto", say: Callable[[str], None] = lambda line: None) -> ImageMap:
    """The map of an index, which is computed once and kept in its directory.

    Its file is named for what the features are of, as theirs is: once the index has other rows, or is of another
    network, it is computed again.

    Args:
        index: of n rows.
        method: umap, pca, or auto: umap where the package umap-learn is installed. Fewer than 50 images are laid out
            by pca.
        say: receives a line before long work, and where the map cannot be kept.

    Raises:
        InputError: scikit-learn is missing, or umap-learn where umap is asked for.
    """
    if method != "pca" and len(index.rows) >= _LEAST_FOR_UMAP:
        kept = _read(index, "umap")
        if kept is not None:
            return ImageMap(kept, "umap")
        if umap() is not None:
            return _computed(index, "umap", say)
        if method == "umap":
            raise InputError(
                "The map `umap` needs the package umap-learn. Received: map=umap. Install it: pip install umap-learn, "
                "or the extra `browse` of this package; or pass --map=pca"
            )
    kept = _read(index, "pca")
    return _computed(index, "pca", say) if kept is None else ImageMap(kept, "pca")


def _computed(index: Index, method: str, say: Callable[[str], None]) -> ImageMap:
    n = len(index.rows)
    say(f"laying out {n:,} images by {method}; the next start reads it from {index.directory}")
    places = _two(_umap(index) if method == "umap" else _components(index, 2))
    path = _file_of(index, method)
    temporary = temporary_of(path)
    try:
        with open(temporary, "wb") as file:
            np.save(file, places)
        os.replace(temporary, path)
        _remove_older(index)
    except OSError as error:
        say(f"note: the map cannot be kept for the next start: {error.strerror}. Received: {path}")
        with contextlib.suppress(OSError):
            os.remove(temporary)
    return ImageMap(places, method)


def _file_of(index: Index, method: str) -> str:
    return os.path.join(index.directory, f"map-{index.token}.{method}.npy")


def _read(index: Index, method: str) -> np.ndarray | None:
    """The map that was kept; None where there is none, or its file is damaged."""
    try:
        places = np.load(_file_of(index, method), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = places.shape == (len(index.rows), 2) and places.dtype == np.float32
    return places if whole and np.isfinite(places).all() else None


def _remove_older(index: Index) -> None:
    """Removes the maps of what the index was before."""
    own = {os.path.basename(_file_of(index, method)) for method in ("umap", "pca")}
    for name in os.listdir(index.directory):
        if _KEPT.fullmatch(name) and name not in own:
            os.remove(os.path.join(index.directory, name))


def _umap(index: Index) -> np.ndarray:
    package: Any = umap()
    # One thread: with several, two computations of one map differ.
    mapped = package.UMAP(n_neighbors=_NEIGHBOURS, random_state=0, n_jobs=1)
    places: np.ndarray = mapped.fit_transform(_components(index, _COMPONENTS))
    return places


def _components(index: Index, number: int) -> np.ndarray:
    """The first principal components of features of length 1: float32 [n, at most number], read block by block."""
    decomposition = require_scikit_learn("decomposition", "The map of images")
    n, d = index.features.shape
    sample = np.sort(np.random.default_rng(0).permutation(n)[:_SAMPLE])
    with np.errstate(invalid="ignore"):  # shares of a variance of 0, which nobody asks for
        fitted = decomposition.PCA(min(number, len(sample), d), random_state=0).fit(index.normalised(sample))
    lengths = index.norms[:, np.newaxis]
    parts = [fitted.transform(block / lengths[first : first + len(block)]) for first, block in index.blocks()]
    return np.concatenate(parts).astype(np.float32)


def _two(places: np.ndarray) -> np.ndarray:
    """Places as float32 [n, 2], also of features of one number; 0 where a single image or equal ones have none."""
    wide = np.pad(places, ((0, 0), (0, max(0, 2 - places.shape[1]))))[:, :2]
    return np.nan_to_num(wide).astype(np.float32)
