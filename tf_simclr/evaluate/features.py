"""Features on disk, in a cache that is computed once and memory-mapped.

Every protocol on frozen features (kNN, logistic regression, linear evaluation on cached features) reads the same
arrays. A cache is one directory for each endpoint, with features.npy, labels.npy and manifest.json, whose name is made
of all that the features depend on; see `FeatureKey`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.data.source import ImageSource
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract, feature_batches, require_endpoints
from tf_simclr.evaluate.feature_store import (
    FeatureKey,
    Features,
    StaleCacheError,
    open_features,
    require_local,
    written_features,
)
from tf_simclr.evaluate.measures.thumbnails import THUMBNAIL
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.resnet import INPUT_NORMALIZATION, STEM_POOL_PAD

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


def model_digest(model: SimCLRModel) -> str:
    """SHA-256, as 64 hexadecimal digits, of the names, types, shapes and bytes of all variables of a model.

    It is the content of a checkpoint, whatever its path and its time, on every stack and any number of replicas. What
    an encoder computes without variables counts too: its input normalisation and symmetric pool padding.
    """
    digest = hashlib.sha256()
    for name, variable in sorted(model.named_variables().items()):
        value = _value_of(variable)
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(np.ascontiguousarray(value).data)
    for layer in model.encoder.layers:
        if layer.name == INPUT_NORMALIZATION:
            numbers = [np.asarray(part, np.float32).tolist() for part in (layer.scale, layer.offset)]
            digest.update(f"{layer.name} {numbers}\n".encode())
        elif layer.name == STEM_POOL_PAD:
            digest.update(f"{layer.name}\n".encode())
    return digest.hexdigest()


def _value_of(variable: Any) -> np.ndarray:
    raw = compat.raw_variable(variable)
    copies = [np.asarray(copy) for copy in getattr(raw, "values", ())]
    # Moving statistics are averaged over replicas when they are read, and the average of three equal numbers need not
    # be that number: equal copies are taken as they are.
    if copies and all(np.array_equal(copies[0], copy) for copy in copies[1:]):
        return copies[0]
    return raw.read_value().numpy()


def cached_features(
    model: SimCLRModel,
    source: ImageSource,
    directory: str,
    loader: EvalLoader,
    *,
    endpoints: Sequence[str] = ("final_avg_pool",),
    digest: str | None = None,
    data_seed: int = 0,
    reading: str = "",
    say: Say = print,
    progress: Progress = lambda done, total: None,
) -> dict[str, Features]:
    """Features of a split, from the cache where it has them, else computed in one pass and kept.

    Batch norms are in inference mode, and no variable of the model changes. A cache that was damaged, cut off or left
    half-written is found out and computed again, and so is one of images that have changed since: a source's
    `fingerprint` is part of its name.

    Args:
        model: its variables hold the checkpoint.
        source: the split; without labels, all labels are -1.
        directory: of all caches, on a local disk; made when it is not there.
        loader: its devices are those that the model was made on.
        endpoints: as in `build_extract`.
        digest: `model_digest` of the model, where it is known; None takes it.
        data_seed: the seed the source was opened with.
        reading: what else decides how an image is read; part of the cache's name.
        say: receives, one line each, what is wrong with a cache and what is computed.
        progress: receives (examples done, examples in all) after every batch.

    Returns:
        endpoint -> features float32 [n, d] and labels int64 [n], in the canonical order of the split, read-only.

    Raises:
        InputError: an unknown endpoint, a number out of range, or a directory that cannot be written.

    Source: SimCLR, Appendix B.6 and B.8 (frozen encoder, central crop).
    """
    require_endpoints(model, endpoints)
    require_local(directory)
    keys = _keys(
        endpoints,
        model=digest or model_digest(model),
        compute_dtype=", ".join(sorted({layer.compute_dtype for layer in model.variable_layers().values()})),
        dataset=source.name,
        split=source.split,
        num_examples=source.num_examples,
        location=source.location or "",
        fingerprint=source.fingerprint,
        reading=reading,
        data_seed=data_seed,
        image_size=loader.image_size,
        eval_crop=loader.crop,
    )
    found = _found(directory, keys, say)
    missing = _missing_anywhere(loader.strategy, [name for name in keys if name not in found], endpoints)
    if missing:
        named = ", ".join("thumbnails" if name == THUMBNAIL else name for name in missing)
        say(f"computing {named} of {source.num_examples} images of {source.name}, {source.split}")
        _compute(model, source, directory, loader, [keys[name] for name in missing], progress)
        found |= {name: open_features(directory, keys[name]) for name in missing}
    return {name: found[name] for name in endpoints}


def _keys(endpoints: Sequence[str], **depends_on: Any) -> dict[str, FeatureKey]:
    keys = {name: FeatureKey(endpoint=name, **depends_on) for name in endpoints}
    if THUMBNAIL in keys:  # the same for every network
        keys[THUMBNAIL] = dataclasses.replace(keys[THUMBNAIL], model="", compute_dtype="float32")
    return keys


def _found(directory: str, keys: dict[str, FeatureKey], say: Say) -> dict[str, Features]:
    """The caches that can be used; says what is wrong with the others."""
    found = {}
    for name, key in keys.items():
        try:
            found[name] = open_features(directory, key)
        except StaleCacheError as error:
            say(f"note: {error}; computing it again")
        except FileNotFoundError:
            continue
    return found


def _missing_anywhere(strategy: tf.distribute.Strategy, missing: Sequence[str], endpoints: Sequence[str]) -> list[str]:
    """The endpoints that some worker misses: all must compute the same, or they would wait for each other for ever."""
    if strategy.cluster_resolver is None:  # one process
        return list(missing)

    @tf.function
    def total(own: tf.Tensor) -> tf.Tensor:
        per_replica = strategy.run(tf.identity, args=(own,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    counts = total(tf.constant([int(name in missing) for name in endpoints])).numpy()
    return [name for name, count in zip(endpoints, counts, strict=True) if count]


def _compute(
    model: SimCLRModel,
    source: ImageSource,
    directory: str,
    loader: EvalLoader,
    keys: Sequence[FeatureKey],
    progress: Progress,
) -> None:
    """One pass of the encoder; writes the cache of each key."""
    extract = build_extract(model, loader.strategy, [key.endpoint for key in keys])
    done = 0
    with contextlib.ExitStack() as stack:
        writers = {key.endpoint: stack.enter_context(written_features(directory, key)) for key in keys}
        for rows, values, labels in feature_batches(extract, loader.batches(source), source):
            for name, write in writers.items():
                write(rows, values[name], labels)
            done += len(rows)
            progress(done, source.num_examples)
