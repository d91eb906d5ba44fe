"""Queries that are images: the network of an index is read again and computes their features."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import tensorflow as tf

from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.headers import Headers
from tf_simclr.data.image_files import Reading
from tf_simclr.data.listing import ListedSplit, Listing
from tf_simclr.data.scan import find_images
from tf_simclr.data.source import UNLABELLED
from tf_simclr.errors import InputError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import extracted
from tf_simclr.evaluate.features import model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.index.store import Index

_BATCH = 32


def embedded_files(index: Index, path: str, checkpoint: str | None = None) -> tuple[list[str], np.ndarray]:
    """The features of image files, by the network of an index and read as its images were.

    Args:
        index: whose network it is.
        path: absolute path of a file, or of a folder, whose folders are entered.
        checkpoint: where the network lies now; None for where it lay when the index was made.

    Returns:
        the paths of the n files, and their features float32 [n, d], each of length 1.

    Raises:
        InputError: no image, an image that cannot be decoded, or another network.
    """
    listing = _listed(path, _reading(index))
    return [file.path for file in listing.files], QueryNetwork(index, checkpoint).features(path, listing)


class QueryNetwork:
    """The network of an index, read once, for queries that are images.

    Args:
        index: whose network it is.
        checkpoint: where the network lies now; None for where it lay when the index was made.

    Raises:
        InputError: there is no network, or another one.
    """

    def __init__(self, index: Index, checkpoint: str | None = None):
        place = checkpoint or index.facts.checkpoint
        try:
            trained = load_trained(place)
        except InputError as error:
            if checkpoint is not None:
                raise
            raise InputError(
                f"The network of the index cannot be read from where it was: {error}. Or pass --checkpoint with where "
                "it is now"
            ) from error
        if model_digest(trained.model) != index.identity.network:
            raise InputError(
                f"A query needs the network that made the index. Received: {place}, which holds another network than "
                f"{index.directory} was made with. Pass --checkpoint with that one, or embed the images again"
            )
        self._model, self._index = trained.model, index

    def feature(self, content: bytes) -> np.ndarray:
        """The feature float32 [d] of one image, the bytes of a file, of length 1.

        Raises:
            InputError: no image, or one that cannot be decoded.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "query")
            with open(path, "wb") as file:
                file.write(content)
            feature: np.ndarray = self.features(path, _listed(path, _reading(self._index)))[0]
            return feature

    def features(self, path: str, listing: Listing) -> np.ndarray:
        """The features float32 [n, d] of n files at or below a path, each of length 1."""
        identity = self._index.identity
        loader = EvalLoader(
            tf.distribute.get_strategy(),
            min(_BATCH, len(listing.files)),
            identity.image_size,
            identity.reading.get("eval_crop"),
        )
        source = folder_source(ListedSplit(os.path.dirname(path), "queries", listing))
        features, _ = extracted(self._model, source, loader, [identity.endpoint])
        return unit(features[identity.endpoint])


def _reading(index: Index) -> Reading:
    return Reading(index.identity.reading.get("decoder", "auto"))


def _listed(path: str, reading: Reading) -> Listing:
    folder = os.path.isdir(path)
    files = find_images(path if folder else os.path.dirname(path), recursive=folder, headers=Headers(reading))
    if not folder:
        files.images = [file for file in files.images if file.path == path]
        files.refused = {name: why for name, why in files.refused.items() if name == path}
    files.require_decodable()
    if not files.images:
        why = files.unreadable.get(path, "no image")
        raise InputError(f"`query` must be an image, or a folder of images. Received: {path}: {why}. Pass another file")
    return Listing(files.images, [UNLABELLED] * len(files.images), (), (), reading)


def unit(features: np.ndarray) -> np.ndarray:
    """Features [n, d], each of length 1; one that is 0 everywhere stays so."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)
