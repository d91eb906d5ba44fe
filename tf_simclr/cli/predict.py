"""Opens a network and images, and writes what its supervised head says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.cli.index_results import IndexResult
from tf_simclr.cli.main import say
from tf_simclr.cli.task import TerminalReporter, build_own_strategy, named_images
from tf_simclr.config import DataConfig, RuntimeConfig
from tf_simclr.config.option import listed
from tf_simclr.config.predict import PredictConfig
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import Extract, build_extract, feature_batches
from tf_simclr.evaluate.load import Trained, load_trained
from tf_simclr.index.images import Part, open_parts
from tf_simclr.index.tables import write_csv
from tf_simclr.train.strategy import per_replica_batch

HEADINGS = ("path", "split", "class", "rank", "prediction", "probability")
LOGITS = "logits_sup"


def run(wanted: PredictConfig, data: DataConfig, runtime: RuntimeConfig) -> IndexResult:
    """Predicts every image of some splits, and writes the table.

    Raises:
        InputError: a network without a supervised head, or images that cannot be read. Nothing is written then.
    """
    strategy, chosen = build_own_strategy(runtime, "images are predicted")
    per_replica_batch("eval_batch_size", data.eval_batch_size, strategy)
    with strategy.scope():
        trained = load_trained(wanted.checkpoint or "")
    names = class_names(trained, wanted.checkpoint or "")
    splits = listed("predict_split", wanted.predict_split, str) if wanted.predict_split else ()
    parts = open_parts(data, splits, "predict_split")
    for note in dict.fromkeys(note for part in parts for note in part.notes):
        say(f"note: {note}")
    total = sum(len(part.rows) for part in parts)
    say(f"TensorFlow {tf.__version__} on {chosen}; {total:,} images, {len(names)} classes")
    loader, extract = EvalLoader.of(data, strategy), build_extract(trained.model, strategy, (LOGITS,))
    lines: list[tuple[object, ...]] = []
    with named_images(), TerminalReporter().counting("images predicted") as progress:
        for part in parts:
            lines += predictions(part, loader, extract, names, wanted.top)
            done = len(lines) // min(wanted.top, len(names))
            progress(done, total)
    write_csv(wanted.csv, HEADINGS, lines)
    left_out = f", {total - done:,} left out because they cannot be decoded" if total > done else ""
    say(f"{done:,} images predicted{left_out}: {wanted.csv}")
    return IndexResult(HEADINGS, tuple(lines), wanted.csv)


def class_names(trained: Trained, checkpoint: str) -> tuple[str, ...]:
    """The classes of a network's head; their numbers where the checkpoint does not say.

    Raises:
        InputError: it has no head.
    """
    head = trained.model.supervised_head
    if head is None:
        raise InputError(
            f"`checkpoint` must have a supervised head. Received: {checkpoint}, without one. Fine-tune it with labels "
            "first, or evaluate it with kNN"
        )
    return trained.class_names or tuple(str(number) for number in range(int(head.output.shape[-1])))


def predictions(
    part: Part, loader: EvalLoader, extract: Extract, names: Sequence[str], top: int
) -> list[tuple[object, ...]]:
    """Lines of the table for one split, in its order: the `top` most probable classes of each image."""
    source, rows = part.read(np.arange(len(part.rows)))
    if not rows:
        return []
    lines: dict[int, list[tuple[object, ...]]] = {}
    for places, values, _ in feature_batches(extract, loader.batches(source), source):
        logits: np.ndarray = values[LOGITS].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
        for place, best, share in zip(places.tolist(), order.tolist(), shares, strict=True):
            row = rows[place]
            lines[place] = [
                (as_text(row.path), row.split, row.label, rank, names[number], round(float(share[number]), 6))
                for rank, number in enumerate(best, 1)
            ]
    return [line for place in sorted(lines) for line in lines[place]]
