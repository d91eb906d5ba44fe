"""What an evaluation does: which protocols on which encoders, endpoints and seeds, and whether that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tf_simclr.config import FROZEN_PROTOCOLS, read_labelled_training
from tf_simclr.data.subset import class_balanced
from tf_simclr.errors import InputError, require_choice
from tf_simclr.evaluate.extraction import endpoint_names
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.whole_network import selector_of
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH, UNTRAINED
from tf_simclr.nn.model import SimCLRModel

# What serves images with several classes each, and their metric.
FOR_SEVERAL_CLASSES, MULTI_LABEL_METRIC = ("health", "logreg", "untrained"), "map_11_point"


@dataclass(frozen=True)
class Planned:
    """One thing to do: a protocol on an encoder, with one seed.

    Attributes:
        protocol: its name.
        encoder: PRETRAINED, UNTRAINED or SCRATCH.
        endpoint: whose features are evaluated; None where the whole network is trained.
        seed: None where nothing depends on one.
    """

    protocol: str
    encoder: str
    endpoint: str | None
    seed: int | None

    @property
    def title(self) -> str:
        """For a person."""
        seed = None if self.seed is None else f"seed {self.seed}"
        return f"{self.protocol} ({', '.join(part for part in (self.encoder, self.endpoint, seed) if part)})"

    @property
    def reads_features(self) -> bool:
        """Whether stored features are all that it needs of the images; else it trains with the images themselves."""
        return self.endpoint is not None and self.protocol != "linear"


def plan(context: EvaluationContext) -> list[Planned]:
    """Everything to do: the pretrained encoder first, then each untrained one, then what trains the whole network."""
    settings = context.protocols
    names = settings.protocol_names
    on_encoders = [name for name in ("health", *FROZEN_PROTOCOLS, "linear") if name in names]
    planned = [
        Planned(name, PRETRAINED, endpoint, seed)
        for name in on_encoders
        for endpoint in settings.endpoint_names
        for seed in ((None,) if _needs_no_seed(context, name) else settings.seeds)
    ]
    planned += [
        Planned(name, UNTRAINED, endpoint, seed)
        for seed in settings.seeds * ("untrained" in names)
        for name in on_encoders
        for endpoint in settings.endpoint_names
    ]
    for name in names:
        amount = read_labelled_training(name)
        if amount is not None or name == "finetune_grid":
            encoder = PRETRAINED if amount is None or amount.pretrained else SCRATCH
            planned += [Planned(name, encoder, None, seed) for seed in settings.seeds]
    return planned


def _needs_no_seed(context: EvaluationContext, protocol: str) -> bool:
    """Whether nothing of a protocol on the pretrained encoder is random."""
    return protocol in ("health", "knn") or (protocol == "logreg" and context.splits.validation is not None)


def check(context: EvaluationContext, model: SimCLRModel) -> None:
    """What can be known to fail before any protocol runs.

    Raises:
        InputError: with the flag to change.
    """
    settings, train = context.protocols, context.splits.train
    _require_fitting_metric(settings.protocol_names, settings.metric, several=train.targets is not None)
    for endpoint in settings.endpoint_names:
        require_choice("endpoints", endpoint, endpoint_names(model))
        if "linear" in settings.protocol_names:
            selector_of(endpoint, context.origin)
    for name in settings.protocol_names:
        amount = read_labelled_training(name)
        if amount is not None and not amount.whole:
            for seed in settings.seeds:
                class_balanced(train, fraction=amount.fraction, per_class=amount.per_class, seed=seed)


def _require_fitting_metric(protocols: Sequence[str], metric: str, *, several: bool) -> None:
    """Raises InputError where images with several classes, or with one, cannot be evaluated so."""
    if several and not set(protocols) <= set(FOR_SEVERAL_CLASSES):
        raise InputError(
            f"Images with several classes each are evaluated by: {', '.join(FOR_SEVERAL_CLASSES)}. Received: "
            f"protocols={','.join(protocols)}. Pass --protocols=logreg --metric={MULTI_LABEL_METRIC}"
        )
    if several != (metric == MULTI_LABEL_METRIC):
        wanted = MULTI_LABEL_METRIC if several else "top_1 or mean_per_class"
        kind = "several classes" if several else "one class"
        raise InputError(f"`metric` must be {wanted} for images with {kind} each. Received: metric={metric}")
