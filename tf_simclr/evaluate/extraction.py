"""The features of a frozen encoder, in one pass over the images, as arrays in memory; `cached_features` keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.source import ImageSource
from tf_simclr.errors import DivergedError, InputError, require_choice
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.measures.thumbnails import THUMBNAIL, thumbnails
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.finite import REMEDY

_SHOWN = 3

Extract = Callable[[dict[str, Any]], dict[str, tf.Tensor]]


def endpoint_names(model: SimCLRModel) -> tuple[str, ...]:
    """The endpoints of `SimCLRModel.endpoints` whose features can be had."""
    parts = [part for part in (model.encoder, model.projection_head) if part is not None]
    names = dict.fromkeys(name for part in parts for name in part.output)
    return (*names, "logits_sup") if model.supervised_head is not None else tuple(names)


def require_endpoints(model: SimCLRModel, endpoints: Sequence[str]) -> None:
    """Raises InputError where these are not different names of `endpoint_names`, or `THUMBNAIL`."""
    if isinstance(endpoints, str) or not endpoints or len(set(endpoints)) != len(endpoints):
        raise InputError(f"`endpoints` must be a list of different names, at least one. Received: {endpoints!r}")
    for name in endpoints:
        require_choice("endpoint", name, (*endpoint_names(model), THUMBNAIL))


def averaged_over_space(endpoint: tf.Tensor) -> tf.Tensor:
    """[b, h, w, d] or [b, d] -> [b, d]."""
    return tf.reduce_mean(endpoint, [1, 2]) if endpoint.shape.rank == 4 else endpoint


def build_extract(model: SimCLRModel, strategy: tf.distribute.Strategy, endpoints: Sequence[str]) -> Extract:
    """The compiled pass of a frozen encoder over one batch; traced once for batches of one size.

    Args:
        model: read anew at every call, so that it may be trained between calls; no variable changes.
        strategy: devices, those the model was made on.
        endpoints: names of `endpoint_names`; [b, d] ones are taken as they are, [b, h, w, d] ones averaged over space.
            `THUMBNAIL` gives the `thumbnails` of the images, for which no network runs.

    Returns:
        a function: batch of `EvalLoader` -> each endpoint [global batch, d], and "label", "mask" and
        "row" [global batch], of all replicas and workers; every worker must call it.

    Raises:
        InputError: an unknown endpoint.
    """
    require_endpoints(model, endpoints)
    of_network = [name for name in endpoints if name != THUMBNAIL]

    def replica_features(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        found = model.endpoints(batch["image"], training=False) if of_network else {}
        # Float32, in which features are kept, already here: not every collective moves the narrow types.
        values = {name: tf.cast(averaged_over_space(found[name]), tf.float32) for name in of_network}
        if THUMBNAIL in endpoints:
            values[THUMBNAIL] = thumbnails(batch["image"])
        return values | {field: batch[field] for field in ("label", "mask", "row")}

    @tf.function(autograph=False)
    def extract(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        per_replica = strategy.run(replica_features, args=(batch,))
        return {name: strategy.gather(value, axis=0) for name, value in per_replica.items()}

    return extract


def feature_batches(
    extract: Extract, batches: Iterable[dict[str, Any]], source: ImageSource
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    """One pass of the encoder over a split.

    Args:
        extract: of `build_extract`.
        batches: of `EvalLoader`.
        source: what the batches are made of.

    Yields:
        rows int64 [b], the places of these images in the canonical order of the split; the features [b, d] of each
        endpoint; labels int64 [b]. Every image comes exactly once.

    Raises:
        InputError: the split has another number of images than it says.
        DivergedError: a feature is not finite.
    """
    total, done = source.num_examples, 0
    for batch in batches:
        values = {name: value.numpy() for name, value in extract(batch).items()}
        real = values.pop("mask") > 0
        rows, labels = values.pop("row")[real], values.pop("label")[real]
        done += len(rows)
        if np.max(rows, initial=0) >= total:
            break
        features = {name: value[real] for name, value in values.items()}
        _require_finite(features, rows, source)
        yield rows, features, labels
    if done != total:
        raise InputError(
            f"A split must have as many images as it says. Received: {done} of {total} images of {source.name}, "
            f"{source.split}. Prepare the data set again"
        )


def _require_finite(features: dict[str, np.ndarray], rows: np.ndarray, source: ImageSource) -> None:
    """Raises DivergedError where features [b, d] of these rows of a split are not finite; names the first images.

    Checked with every batch: finite weights can be so large that what the network computes is not.
    """
    for endpoint, values in features.items():
        bad = rows[~np.isfinite(values).all(axis=1)]
        if bad.size:
            shown = bad[:_SHOWN].tolist()
            names = source.names() if source.names is not None else None
            listed = ", ".join(str(row) if names is None else f"{row} ({names[row]})" for row in shown)
            more = ", ..." if bad.size > _SHOWN else ""
            raise DivergedError(
                f"the network makes features that are not finite. Received: {endpoint} of {source.name}, "
                f"{source.split}, image {listed}{more}. {REMEDY}"
            )


def in_memory(
    extract: Extract, batches: Iterable[dict[str, Any]], source: ImageSource
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The features and labels of `feature_batches` as whole arrays; see `extracted`."""
    features: dict[str, np.ndarray] = {}
    labels: np.ndarray = np.empty(source.num_examples, np.int64)
    for rows, values, some_labels in feature_batches(extract, batches, source):
        for name, value in values.items():
            if name not in features:
                features[name] = np.empty((len(labels), value.shape[1]), np.float32)
            features[name][rows] = value
        labels[rows] = some_labels
    return features, labels


def extracted(
    model: SimCLRModel, source: ImageSource, loader: EvalLoader, endpoints: Sequence[str] = ("final_avg_pool",)
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of a split in memory, of the model as it is now; `cached_features` keeps them on disk instead.

    Whoever needs them again and again while the model is trained calls `in_memory` with one `build_extract`, which is
    then traced once.

    Args:
        model: its batch norms are in inference mode, and no variable changes.
        source: the split; without labels, all labels are -1.
        loader: its devices are those that the model was made on. Every worker must call this, and gets all rows.
        endpoints: as in `build_extract`.

    Returns:
        endpoint -> features float32 [n, d], and labels int64 [n], in the canonical order of the split.

    Raises:
        InputError: an unknown endpoint, a number out of range, or a split with another number of images than it says.
    """
    return in_memory(build_extract(model, loader.strategy, endpoints), loader.batches(source), source)
