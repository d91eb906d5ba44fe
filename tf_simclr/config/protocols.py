"""How a representation is evaluated: the protocols, by name, and their settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tf_simclr.config.option import affecting, check_options, listed, option
from tf_simclr.errors import InputError, require_range

# On frozen features: the encoder runs once over each split.
FROZEN_PROTOCOLS = ("knn", "linear_cached", "logreg")
# Anything else that may stand in --protocols, except for finetune and supervised, which take an amount of labels.
OTHER_PROTOCOLS = ("health", "linear", "finetune_grid", "untrained")
METRICS = ("top_1", "mean_per_class", "map_11_point")
_AMOUNT = re.compile(r"(finetune|supervised)(?:_(\d+(?:\.\d+)?)(pct|per_class))?")


@dataclass(frozen=True)
class LabelledTraining:
    """A protocol that trains the whole network with labels.

    Attributes:
        name: as in --protocols.
        pretrained: whether it starts from the checkpoint, or from scratch.
        fraction: share of the labels in (0, 1]; None with `per_class`. 1 means all of them.
        per_class: labels of each class; None with `fraction`.
    """

    name: str
    pretrained: bool
    fraction: float | None
    per_class: int | None

    @property
    def kind(self) -> str:
        """The protocol without its amount of labels: "finetune" or "supervised"."""
        return "finetune" if self.pretrained else "supervised"

    @property
    def whole(self) -> bool:
        """Whether it uses all labels."""
        return self.fraction == 1


def read_labelled_training(name: str) -> LabelledTraining | None:
    """finetune, supervised, finetune_1pct, supervised_20per_class and the like; None for a name of another form.

    Raises:
        InputError: an amount of labels that cannot be.
    """
    found = _AMOUNT.fullmatch(name)
    if found is None:
        return None
    kind, amount, unit = found.groups()
    pretrained = kind == "finetune"
    if unit is None:
        return LabelledTraining(name, pretrained, 1.0, None)
    if unit == "per_class":
        if not amount.isdigit() or int(amount) < 1:
            raise InputError(f"`protocols` must name a whole number of labels per class, at least 1. Received: {name}")
        return LabelledTraining(name, pretrained, None, int(amount))
    if not 0 < float(amount) <= 100:
        raise InputError(f"`protocols` must name a percentage of the labels above 0 and at most 100. Received: {name}")
    return LabelledTraining(name, pretrained, float(amount) / 100, None)


def _protocol(name: str) -> str:
    if read_labelled_training(name) is None and name not in (*FROZEN_PROTOCOLS, *OTHER_PROTOCOLS):
        known = ", ".join((*FROZEN_PROTOCOLS, *OTHER_PROTOCOLS))
        raise InputError(
            f"`protocols` must be of: {known}, finetune, supervised, and the last two with an amount of labels, as "
            f"finetune_10pct or supervised_20per_class. Received: {name!r}"
        )
    return name


@dataclass(frozen=True)
class ProtocolConfig:
    """How a representation is evaluated (SimCLR, Section 4 and Appendix B)."""

    checkpoint: str | None = option(
        None,
        "What to evaluate: a run's directory (its newest checkpoint), a checkpoint, an exported SavedModel, or weights "
        "of the authors' or PyTorch's (docs/weights.md).",
        path=True,
        affects=(),
    )
    protocols: str = option(
        "health,knn,linear_cached,logreg,untrained",
        "Comma-separated: health, knn, linear (SGD on crops and flips), linear_cached (SGD on stored features), "
        "logreg, finetune_1pct, finetune_10pct (any percentage, or finetune_20per_class), finetune (all labels), "
        "finetune_grid (transfer, 7 x 7 grid), supervised (from scratch; supervised_1pct too), and untrained: the "
        "frozen ones again on the encoder as it was initialised.",
        affects=(),
    )
    endpoints: str = option(
        "final_avg_pool",
        "Comma-separated endpoints for the frozen protocols: final_avg_pool is h; proj_head_output, block_group3, ...",
        affects=(),
    )
    eval_seeds: str = option(
        "0", "Comma-separated seeds; figures are mean and standard deviation over them.", affects=()
    )
    metric: str = option(
        "top_1",
        "Metric by which settings are chosen, and which the table shows: top_1, mean_per_class, or map_11_point.",
        METRICS,
        affects=("logreg", "finetune_grid"),
    )
    validation_split: str | None = option(
        None,
        "Split on which strengths and grids are chosen; omitted: a stratified tenth of the training split.",
        affects=(),
    )
    knn_k: str = option(
        "200",
        "Comma-separated numbers of neighbours; a larger number than there are training images counts as all of them.",
        affects=("knn",),
    )
    knn_temperature: str = option("0.1", "Comma-separated temperatures of the neighbours' votes.", affects=("knn",))
    logreg_iterations: int = option(
        1000, "L-BFGS iterations of each of logreg's fits, at most.", at_least=1, affects=("logreg",)
    )
    logreg_strengths: str = option(
        "", "Comma-separated l2 strengths of logreg; empty: the paper's 45 from 1e-6 to 1e5.", affects=("logreg",)
    )
    linear_epochs: float = option(
        90.0, "Epochs of linear and linear_cached.", above=0, affects=("linear_cached", "linear")
    )
    linear_batch_size: int = option(
        4096,
        "Batch of linear_cached, at most a quarter of the training images.",
        at_least=1,
        affects=("linear_cached",),
    )
    linear_learning_rate: float = option(
        0.1,
        "Learning rate of linear and linear_cached for a batch of 256.",
        above=0,
        affects=("linear_cached", "linear"),
    )
    finetune_epochs: float = option(
        0.0, "Epochs of finetune_*; 0: 60 up to 1% of the labels, 30 above.", at_least=0, affects=("finetune",)
    )
    finetune_batch_size: int = option(
        256,
        "Batch of linear, finetune_* and supervised* where images go through the encoder, at most a quarter of "
        "the training images. The paper's is 4096; learning rates are scaled with it.",
        at_least=2,
        affects=("linear", "finetune", "supervised", "finetune_grid"),
    )
    finetune_learning_rate: float = option(
        0.05, "Learning rate of finetune_* for a batch of 256.", above=0, affects=("finetune",)
    )
    supervised_epochs: float = option(
        0.0,
        "Epochs of supervised*; 0: as many images as the checkpoint's pretraining took.",
        at_least=0,
        affects=("supervised",),
    )
    supervised_learning_rate: float = option(
        0.1, "Learning rate of supervised* for a batch of 256.", above=0, affects=("supervised",)
    )
    supervised_weight_decay: float = option(1e-4, "Weight decay of supervised*.", at_least=0, affects=("supervised",))
    grid_learning_rates: str = option(
        "",
        "Comma-separated learning rates of finetune_grid; empty: the paper's 7 from 1e-4 to 1e-1.",
        affects=("finetune_grid",),
    )
    grid_weight_decays: str = option(
        "",
        "Comma-separated weight decays of finetune_grid; empty: 0 and the paper's 7 from 1e-6 to 1e-3.",
        affects=("finetune_grid",),
    )
    grid_steps: int = option(20000, "Steps of each run of finetune_grid.", at_least=1, affects=("finetune_grid",))
    find_twins: bool = option(
        True,
        "Look for test images that are an exact or near copy of a training image, and give each figure without them.",
        affects=(),
    )
    feature_dir: str | None = option(
        None, "Where features are kept, on a local disk; omitted: MODEL_DIR/features.", path=True, affects=()
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.checkpoint:
            raise InputError(
                "`checkpoint` must name what is evaluated: a run's directory, a checkpoint or an exported SavedModel. "
                "Received: none. Pass --checkpoint=DIR"
            )
        for name, numbers, bounds in (
            ("knn_k", self.ks, {"at_least": 1}),
            ("knn_temperature", self.knn_temperatures, {"above": 0}),
            ("eval_seeds", self.seeds, {"at_least": 0, "at_most": 2**31 - 1}),
            ("logreg_strengths", self.l2_strengths, {"above": 0}),
            ("grid_learning_rates", self.grid[0], {"above": 0}),
            ("grid_weight_decays", self.grid[1], {"at_least": 0}),
        ):
            for number in numbers:
                require_range(name, number, **bounds)
        if self.protocol_names == ("untrained",):
            raise InputError(
                "`untrained` repeats the protocols on frozen features beside it. Received: protocols=untrained. Pass "
                "--protocols=knn,untrained or others with it"
            )
        listed("endpoints", self.endpoints, str)  # raises

    @property
    def protocol_names(self) -> tuple[str, ...]:
        """The protocols, in order."""
        return listed("protocols", self.protocols, _protocol)

    @property
    def needs_labels(self) -> bool:
        """Whether a protocol beside `health` is asked for; the others compare with labels."""
        return not set(self.protocol_names) <= {"health", "untrained"}

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """The endpoints, in order."""
        return listed("endpoints", self.endpoints, str)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return listed("eval_seeds", self.eval_seeds, int)

    @property
    def ks(self) -> tuple[int, ...]:
        """Numbers of neighbours."""
        return listed("knn_k", self.knn_k, int)

    @property
    def knn_temperatures(self) -> tuple[float, ...]:
        """Temperatures of the neighbours' votes."""
        return listed("knn_temperature", self.knn_temperature, float)

    @property
    def l2_strengths(self) -> tuple[float, ...]:
        """Strengths of logistic regression (SimCLR, Appendix B.8: 45, evenly spaced in the logarithm)."""
        return listed("logreg_strengths", self.logreg_strengths or _log_spaced(-6, 5, 45), float)

    @property
    def grid(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Learning rates and weight decays of finetune_grid (SimCLR, Appendix B.8: 7 of each, and no decay)."""
        rates = listed("grid_learning_rates", self.grid_learning_rates or _log_spaced(-4, -1, 7), float)
        decays = listed("grid_weight_decays", self.grid_weight_decays or "0," + _log_spaced(-6, -3, 7), float)
        return rates, decays

    def settings_of(self, protocol: str) -> dict[str, Any]:
        """The options that a protocol's result depends on, by name; neither the endpoint nor the seed is among them."""
        training = read_labelled_training(protocol)
        kind = protocol if training is None else training.kind
        return {name: getattr(self, name) for name in affecting(ProtocolConfig, kind)}

    def to_flags(self) -> dict[str, Any]:
        """All fields by flag name."""
        return dict(vars(self))


def _log_spaced(first: float, last: float, count: int) -> str:
    return ",".join(f"{10 ** (first + (last - first) * i / (count - 1)):.6g}" for i in range(count))
