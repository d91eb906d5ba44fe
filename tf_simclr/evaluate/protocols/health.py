"""Health of a representation, the two views of pretraining included: alignment, and the contrastive task."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.evaluate.extraction import averaged_over_space
from tf_simclr.evaluate.measures.health import alignment, collapse_warning, contrastive_task, representation_health
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.frozen import FrozenFeatures
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.input import build_train_iterator

# Images of the test split that are enough: pairs of all of them would take a time that grows with their square.
MOST_FEATURES, MOST_VIEWED = 5000, 2048
_SEED = 0


def health(
    context: EvaluationContext, model: SimCLRModel, features: FrozenFeatures, endpoint: str, *, warn: bool = True
) -> dict[str, Any]:
    """The fields metrics and details of a record: how features of the test split fill their space, and the views' task.

    Batch norms are in inference mode. The figures of the contrastive task depend on the number of candidates, which
    is named by the batch in the details. `warn` says whether a collapse is worth a line: an encoder that was never
    trained has every right to it.
    """
    h = features.test.features
    if len(h) > MOST_FEATURES:  # at random: a folder is sorted by class
        h = h[np.sort(np.random.default_rng(_SEED).permutation(len(h))[:MOST_FEATURES])]
    state = representation_health(h)
    views, batch = view_features(context, model, endpoint)
    loss = context.origin.loss
    task = contrastive_task(
        views["z_a"], views["z_b"], temperature=loss.temperature, hidden_norm=loss.hidden_norm, batch_size=batch
    )
    metrics = {name: float(value) for name, value in asdict(state).items() if name not in ("examples", "dimensions")}
    metrics |= {
        "alignment": alignment(views["a"], views["b"]),
        "contrastive_accuracy": task.accuracy,
        "contrastive_entropy": task.entropy,
        "contrastive_loss": task.loss,
    }
    details: dict[str, Any] = {
        "examples": state.examples,
        "dimensions": state.dimensions,
        "viewed": len(views["a"]),
        "contrastive_batch": batch,
    }
    warning = collapse_warning(state) if warn else None
    if warning is not None:
        context.reporter.say(f"warning: {endpoint}: {warning}")
        details["warning"] = warning
    return {"metrics": metrics, "details": details}


def view_features(context: EvaluationContext, model: SimCLRModel, endpoint: str) -> tuple[dict[str, np.ndarray], int]:
    """Features and projections of two views of test images, by the augmentation of the pretraining.

    Returns:
        {"a", "b": the endpoint, "z_a", "z_b": projections}, each float32 [n, d], and the global batch that n is a
        multiple of.
    """
    source, replicas = context.splits.test, context.strategy.num_replicas_in_sync
    wanted = min(context.origin.data.train_batch_size, source.num_examples, MOST_VIEWED)
    batch = max(wanted // replicas, 1) * replicas
    config = replace(
        context.origin,
        data=replace(context.data, train_batch_size=batch),
        train=replace(context.origin.train, train_mode="pretrain"),
        runtime=replace(context.runtime, seed=_SEED),
    )

    def replica_views(data: dict[str, Any]) -> dict[str, tf.Tensor]:
        found = {}
        for name, images in zip("ab", data["views"], strict=True):
            outputs = model.endpoints(images, training=False)
            found[name] = averaged_over_space(outputs[endpoint])
            found[f"z_{name}"] = outputs["proj_head_output"]
        return found

    @tf.function(autograph=False)
    def of_batch(data: dict[str, Any]) -> dict[str, tf.Tensor]:
        per_replica = context.strategy.run(replica_views, args=(data,))
        return {name: context.strategy.gather(value, axis=0) for name, value in per_replica.items()}

    iterator = build_train_iterator(config, source, context.strategy, 0)
    steps = max(1, min(MOST_VIEWED, source.num_examples) // batch)
    batches = [{name: value.numpy() for name, value in of_batch(next(iterator)).items()} for _ in range(steps)]
    return {name: np.concatenate([values[name] for values in batches]) for name in batches[0]}, batch
