"""The parts of a run together: checked as a whole, from flat flags and to them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_simclr.config.data import AugmentationConfig, DataConfig
from tf_simclr.config.distillation import DistillationConfig
from tf_simclr.config.model import LossConfig, ModelConfig
from tf_simclr.config.runtime import RuntimeConfig
from tf_simclr.config.training import CheckpointConfig, EvalConfig, OptimizerConfig, TrainConfig
from tf_simclr.errors import InputError

# Beside a run's checkpoints, and inside an export: what later programs need to build the networks again.
FLAGS_FILE = "flags.json"
CARD_FILE = "simclr.json"


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that defines a run; written to model_dir as flags.json."""

    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    distillation: DistillationConfig = DistillationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvalConfig = EvalConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def validate(self) -> None:
        """Checks every part, then what only holds between parts. Raises InputError."""
        for part in parts(self):
            part.validate()
        self.distillation.require_use(self.train.train_mode)
        self.loss.require_use_of_memory(self.train.train_mode, self.data.train_batch_size)
        selector, head = self.train.ft_proj_selector, self.model.proj_head_mode
        layers = {"none": 0, "linear": 1, "nonlinear": self.model.num_proj_layers}[head]
        if self.train.trains_classifier and selector > layers:
            raise InputError(
                f"`ft_proj_selector` must be at most {layers}, the layers of the {head} projection head. "
                f"Received: ft_proj_selector={selector}. Pass a smaller one, or --num_proj_layers"
            )
        if self.train.micro_batch_size > self.data.train_batch_size:
            raise InputError(
                f"`micro_batch_size` must be at most the batch it divides. Received: micro_batch_size="
                f"{self.train.micro_batch_size}, train_batch_size={self.data.train_batch_size}. Pass a smaller "
                "--micro_batch_size, or 0 for none"
            )
        if self.augmentation.augmentation_branch == "one" and self.train.trains_classifier:
            raise InputError(
                "`augmentation_branch` must be both when fine-tuning or distilling, where an image has one view. "
                f"Received: augmentation_branch=one, train_mode={self.train.train_mode}. Leave it out"
            )
        if self.evaluation.eval_every_epochs and self.train.train_mode != "pretrain":
            raise InputError(
                "`eval_every_epochs` must be 0 when fine-tuning or distilling: kNN and the linear classifier measure "
                f"what is learnt without labels. Received: eval_every_epochs={self.evaluation.eval_every_epochs:g}, "
                f"train_mode={self.train.train_mode}. Leave it out; train/supervised_acc and --mode=train_then_eval "
                "measure the head"
            )
        if self.train.dry_run and self.runtime.mode == "eval":
            raise InputError(
                "`dry_run` describes a training, and mode eval trains nothing. Received: dry_run=True, mode=eval. Pass "
                "--mode=train, or leave --dry_run out"
            )
        if self.evaluation.online_data_dir:
            self._require_use_of_online_data()
        if self.runtime.input_workers is not None and self.data.cache_dataset:
            raise InputError(
                "`cache_dataset` holds the images in this process, and with --input_workers others read them. "
                f"Received: cache_dataset=True, input_workers={self.runtime.input_workers}. Leave one of them out"
            )
        if self.train.untrained_baseline and not self.train.lineareval_while_pretraining:
            raise InputError(
                "`untrained_baseline` compares online linear heads. Received: "
                "untrained_baseline=True, lineareval_while_pretraining=False. Turn the latter on"
            )

    def _require_use_of_online_data(self) -> None:
        evaluates = self.runtime.mode != "train" or self.evaluation.eval_every_epochs > 0
        if self.train.train_mode != "pretrain" or not evaluates:
            raise InputError(
                "`online_data_dir` evaluates h of a pretraining, at its end with --mode=train_then_eval and while it "
                f"trains with --eval_every_epochs. Received: online_data_dir={self.evaluation.online_data_dir}, "
                f"train_mode={self.train.train_mode}, mode={self.runtime.mode}, eval_every_epochs="
                f"{self.evaluation.eval_every_epochs:g}. Leave it out, or pass one of these"
            )

    def to_flags(self) -> dict[str, Any]:
        """All fields, flat, by flag name."""
        return {field.name: getattr(part, field.name) for part in parts(self) for field in dataclasses.fields(part)}

    def to_json(self) -> str:
        """The flat fields as JSON."""
        return json.dumps(self.to_flags(), indent=2, sort_keys=True, allow_nan=False) + "\n"


def of_recorded(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that an earlier version may have recorded, with what that version did where it had no flag for it.

    Args:
        flags: by name, as in flags.json or a model card.
    """
    return {"hold_out_by": "count", "online_head": "authors", **flags}


def known_flags() -> set[str]:
    """The names of all fields."""
    return set(ExperimentConfig().to_flags())


def parts(config: ExperimentConfig) -> list[Any]:
    """The config's parts, in order."""
    return [getattr(config, field.name) for field in dataclasses.fields(config)]


def build_config(values: dict[str, Any]) -> ExperimentConfig:
    """A validated config from flat values by flag name; missing ones keep their defaults.

    Raises:
        InputError: where a value cannot work; KeyError for a name that is no field.
    """
    remaining = dict(values)
    built = {}
    for field in dataclasses.fields(ExperimentConfig):
        part_type: Any = type(field.default)
        names = [f.name for f in dataclasses.fields(part_type) if f.name in remaining]
        built[field.name] = part_type(**{name: remaining.pop(name) for name in names})
    if remaining:
        raise KeyError(f"no such config field: {', '.join(sorted(remaining))}")
    config = ExperimentConfig(**built)
    config.validate()
    return config
