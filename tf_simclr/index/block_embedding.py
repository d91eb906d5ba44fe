"""The features of blocks of images, computed by a worker of a pipeline into pieces of an index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_simclr.config import RuntimeConfig
from tf_simclr.data.bad_images import attempted
from tf_simclr.data.blocks import read_block
from tf_simclr.data.listing import ListedSplit, part_of
from tf_simclr.errors import DivergedError, InputError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract
from tf_simclr.evaluate.features import model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.index.embedding import add_pieces
from tf_simclr.index.images import rows_of, source_of_files
from tf_simclr.index.pieces import Pieces
from tf_simclr.index.store import Identity
from tf_simclr.train.strategy import build_strategy, choose_strategy


@dataclass(frozen=True)
class EmbeddingWork:
    """What every worker must know; it can be pickled.

    Attributes:
        checkpoint: path of the network.
        identity: of the features.
        batch_size: images of a batch.
        eval_crop: as in `EvalLoader`.
        runtime: devices of a worker.
    """

    checkpoint: str
    identity: Identity
    batch_size: int
    eval_crop: float | None
    runtime: RuntimeConfig


class BlockEmbedder:
    """Computes the features of blocks, with one network for all of them.

    Raises:
        InputError: the worker finds another network at this path, or none.
    """

    def __init__(self, work: EmbeddingWork, pieces: Pieces):
        identity = work.identity
        strategy, _ = build_strategy(work.runtime, choose_strategy(work.runtime))
        with strategy.scope():
            model = load_trained(work.checkpoint).model
        if model_digest(model) != identity.network:
            raise InputError(
                f"Every worker must read the same network. Received: {work.checkpoint}, which is another one for this "
                "worker. Put the checkpoint where all workers read the same file"
            )
        self._loader = EvalLoader(strategy, work.batch_size, identity.image_size, work.eval_crop)
        self._extract = build_extract(model, strategy, (identity.endpoint,))
        self._identity, self._pieces = identity, pieces

    def __call__(self, block: str) -> int:
        """Computes the features of a block, of `write_blocks`; returns how many there are.

        It leaves the block at the first image that cannot be embedded, and leaves out damaged ones where that is
        wanted. Whoever started the pipeline meets these images again and says what is wrong.

        Raises:
            InputError, OSError, tf.errors.OpError: anything else.
        """
        listed, done = read_block(block), 0
        if listed.listing.reading.on_bad_image == "skip":
            listed = _good(listed)
        if not listed.num_examples:
            return 0
        source, rows = source_of_files(listed), rows_of(listed)
        try:
            for some, _ in add_pieces(self._pieces, self._extract, self._loader, source, rows, self._identity):
                done += len(some)
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError, DivergedError):
            pass
        return done


def _good(listed: ListedSplit) -> ListedSplit:
    good: np.ndarray = attempted(source_of_files(listed))[1]
    return ListedSplit(listed.root, listed.split, part_of(listed.listing, good))
