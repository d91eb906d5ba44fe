"""What a kept result depends on: its file has a name that changes with any of it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from tf_simclr.config import ExperimentConfig
from tf_simclr.evaluate.measures.linear import PROBE
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.plan import Planned
from tf_simclr.evaluate.protocols.whole_network import DECAY
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH
from tf_simclr.resumable import short_digest

# 2: a result says what the images are made of, and what was predicted for each.
FORMAT = 2
# Options of the network that came later: results that are kept from before do not name them.
_LATER = frozenset({"pool_padding", "identity_shortcut", "input_mean", "input_std", "proj_head_offset"})


def identity_of(context: EvaluationContext, planned: Planned, digest: str) -> dict[str, Any]:
    """Everything that the result of a protocol depends on, as JSON values.

    Args:
        context: what is evaluated. Of its options those count that say so, see `config.option`.
        planned: the protocol.
        digest: of the pretrained networks, see `model_digest`.
    """
    decays = planned.protocol.startswith(("supervised", "finetune_grid"))
    origin, untrained = context.origin, planned.encoder != PRETRAINED
    # "auto" is decided by the image size of the run; the values of a checkpoint know it.
    stem = origin.model.stem_for(origin.data.image_size) if untrained and origin.model.stem == "auto" else None
    return {
        "format": FORMAT,
        "protocol": planned.protocol,
        "encoder": planned.encoder,
        "endpoint": planned.endpoint,
        "seed": planned.seed,
        "settings": context.protocols.settings_of(planned.protocol),
        **({"probe": PROBE} if planned.protocol == "linear_cached" else {}),
        **({"decay": DECAY} if decays else {}),
        # Health compares views in batches of the run's size.
        **({"view_batch": origin.data.train_batch_size} if planned.protocol == "health" else {}),
        "networks": networks_identity(origin),
        **({} if stem is None else {"stem": stem}),
        "checkpoint": None if untrained else digest,
        "pictures_seen": context.pictures_seen if planned.encoder == SCRATCH else None,
        **images_identity(context),
        "precision": "float32" if planned.reads_features else context.runtime.precision,
    }


def networks_identity(origin: ExperimentConfig) -> dict[str, Any]:
    """What the networks and their pretraining were, by part; a later option counts where it is used."""
    defaults = {field.name: field.default for field in fields(origin.model)}
    model = {name: v for name, v in asdict(origin.model).items() if name not in _LATER or v != defaults[name]}
    return {"model": model, "loss": asdict(origin.loss), "augmentation": asdict(origin.augmentation)}


def images_identity(context: EvaluationContext) -> dict[str, Any]:
    """Which images, what they are made of, and how they are read."""
    return {
        "splits": {
            role: [s.name, s.split, s.num_examples, list(s.class_names), s.location, s.fingerprint]
            for role, s in context.named_splits.items()
        },
        "reading": context.data.reading,
    }


def name_of(context: EvaluationContext, planned: Planned, digest: str) -> str:
    """The name of a result's files: the protocol and the seed, for people, and a digest of its identity."""
    seed = "" if planned.seed is None else f"-seed{planned.seed}"
    return f"{planned.protocol}{seed}-{short_digest(identity_of(context, planned, digest))}"
