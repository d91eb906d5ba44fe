"""The configuration of a run: frozen dataclasses, checked as a whole, before any long work and without TensorFlow.

Every field is also a command-line flag of the same name; its help, and the choices where there are any, stand in
the field's metadata, so that flags, defaults, documentation and config are written once.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from tf_simclr.errors import InputError, require_choice, require_range

# Beside a run's checkpoints, and inside an export: what later programs need to build the networks again.
FLAGS_FILE = "flags.json"
CARD_FILE = "simclr.json"
RESNET_DEPTHS = (18, 34, 50, 101, 152, 200)
OPTIMIZERS = ("lars", "lamb", "momentum", "adam")
# These decay and adapt kernels by themselves; with the others weight decay is part of the loss.
ADAPTIVE_OPTIMIZERS = ("lars", "lamb")
PRECISIONS = ("float32", "bfloat16", "float16")
CIFAR_STEM_MAX_SIZE = 32


def takes_central_crop(image_size: int) -> bool:
    """Whether evaluation crops the central 87.5%: CIFAR-sized pictures are only resized."""
    return image_size > CIFAR_STEM_MAX_SIZE


def option(default: Any, help_text: str, choices: tuple[str, ...] | None = None) -> Any:
    """A config field that is also a command-line flag."""
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and in what batches."""

    dataset: str = option(
        "",
        "Data set: 'shapes' (built in), 'folder' (pictures under --data_dir), or a TFDS name such as "
        "cifar10, imagenet2012 or name/config. Empty (our default; the authors': imagenet2012) means: "
        "configs/quickstart.cfg supplies every flag that was not given.",
    )
    data_dir: str | None = option(None, "Folder of pictures for --dataset=folder; TFDS data directory otherwise.")
    train_split: str = option("train", "Split to train on; TFDS slices such as 'train[:10%]' work.")
    eval_split: str = option("validation", "Split to evaluate on.")
    image_size: int = option(224, "Side of the square pictures the encoder sees, in pixels.")
    train_batch_size: int = option(512, "Global batch: pictures per step over all replicas.")
    eval_batch_size: int = option(256, "Global batch size for evaluation.")
    data_seed: int = option(
        0,
        "Seed of the built-in pictures and of hold-out splits; apart from --seed, so that runs with "
        "several seeds share their data.",
    )
    cache_dataset: bool = option(False, "Keep the pictures in memory after the first read, before augmentation.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("image_size", self.image_size, at_least=8)
        require_range("train_batch_size", self.train_batch_size, at_least=2)
        require_range("eval_batch_size", self.eval_batch_size, at_least=1)
        if self.dataset == "folder" and not self.data_dir:
            raise InputError(
                "`data_dir` must name the folder of pictures with --dataset=folder. "
                "Received: data_dir=None. Pass --data_dir=DIR"
            )


@dataclass(frozen=True)
class AugmentationConfig:
    """The family of augmentations that the two views are drawn from (SimCLR, Section 3 and Appendix A)."""

    color_jitter_strength: float = option(1.0, "Strength s of the colour distortion; 0 turns it off.")
    color_jitter_impl: str = option(
        "simclrv1",
        "Brightness jitter: simclrv1 adds (the paper), simclrv2 multiplies (the authors' later code).",
        ("simclrv1", "simclrv2"),
    )
    use_blur: bool = option(True, "Gaussian blur in pretraining; off for CIFAR-sized pictures.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("color_jitter_strength", self.color_jitter_strength, at_least=0)
        require_choice("color_jitter_impl", self.color_jitter_impl, ("simclrv1", "simclrv2"))


@dataclass(frozen=True)
class ModelConfig:
    """Encoder and heads."""

    resnet_depth: int = option(50, "Depth of the ResNet: 18, 34, 50, 101, 152 or 200.")
    width_multiplier: float = option(
        1.0, "Multiplies every layer's width; fractions too: 0.25 costs about a sixteenth."
    )
    sk_ratio: float = option(0.0, "Selective-kernel ratio; > 0 also turns on ResNet-D (SimCLR v2: 0.0625).")
    se_ratio: float = option(0.0, "Squeeze-and-excitation ratio; > 0 turns it on.")
    stem: str = option(
        "auto",
        "First layers: imagenet (7x7 stride 2, max pool), cifar (3x3 stride 1, no pool), or auto: cifar up "
        f"to {CIFAR_STEM_MAX_SIZE} pixels.",
        ("auto", "imagenet", "cifar"),
    )
    proj_head_mode: str = option("nonlinear", "Projection head g.", ("none", "linear", "nonlinear"))
    proj_out_dim: int = option(128, "Dimension of the projections z.")
    num_proj_layers: int = option(
        3, "Layers of the nonlinear projection head (2 in the paper, 3 in the authors' code)."
    )
    global_bn: bool = option(True, "Batch-norm moments over all replicas instead of each replica's own.")
    batch_norm_decay: float = option(0.9, "Momentum of the batch norm's moving statistics.")
    zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_choice("resnet_depth", self.resnet_depth, RESNET_DEPTHS)
        require_range("width_multiplier", self.width_multiplier, above=0)
        require_range("sk_ratio", self.sk_ratio, at_least=0, at_most=1)
        require_range("se_ratio", self.se_ratio, at_least=0, at_most=1)
        require_choice("stem", self.stem, ("auto", "imagenet", "cifar"))
        require_choice("proj_head_mode", self.proj_head_mode, ("none", "linear", "nonlinear"))
        require_range("proj_out_dim", self.proj_out_dim, at_least=1)
        require_range("num_proj_layers", self.num_proj_layers, at_least=1)
        require_range("batch_norm_decay", self.batch_norm_decay, at_least=0, at_most=1)

    def stem_for(self, image_size: int) -> str:
        """The stem itself: `auto` is resolved by the picture size."""
        if self.stem != "auto":
            return self.stem
        return "cifar" if image_size <= CIFAR_STEM_MAX_SIZE else "imagenet"


@dataclass(frozen=True)
class LossConfig:
    """The contrastive loss (SimCLR, Equation 1)."""

    temperature: float = option(0.1, "Temperature tau of NT-Xent.")
    hidden_norm: bool = option(True, "Cosine similarity: l2-normalise the projections.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("temperature", self.temperature, above=0)


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and learning-rate schedule (SimCLR, Section 2.2 and Appendix B.1)."""

    optimizer: str = option(
        "lars",
        "lars, lamb (on TensorFlow 2.15: from TensorFlow Addons), momentum (Nesterov SGD) or adam.",
        OPTIMIZERS,
    )
    learning_rate: float = option(0.3, "Base learning rate, before scaling with the batch size.")
    learning_rate_scaling: str = option(
        "linear", "linear: base x batch / 256; sqrt: base x sqrt(batch).", ("linear", "sqrt")
    )
    warmup_epochs: float = option(10.0, "Epochs of linear warm-up.")
    weight_decay: float = option(1e-6, "Weight decay.")
    momentum: float = option(0.9, "Momentum of lars and momentum.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_choice("optimizer", self.optimizer, OPTIMIZERS)
        require_choice("learning_rate_scaling", self.learning_rate_scaling, ("linear", "sqrt"))
        require_range("learning_rate", self.learning_rate, above=0)
        require_range("warmup_epochs", self.warmup_epochs, at_least=0)
        require_range("weight_decay", self.weight_decay, at_least=0)
        require_range("momentum", self.momentum, at_least=0, at_most=1)

    def peak_learning_rate(self, batch_size: int) -> float:
        """The learning rate after warm-up for a global batch."""
        if self.learning_rate_scaling == "linear":
            return self.learning_rate * batch_size / 256.0
        return self.learning_rate * math.sqrt(batch_size)


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, and for how long."""

    train_mode: str = option(
        "pretrain",
        "pretrain (contrastive) or finetune (supervised; from scratch without --checkpoint).",
        ("pretrain", "finetune"),
    )
    train_epochs: float = option(100.0, "Epochs to train.")
    train_steps: int = option(0, "Steps to train; overrides --train_epochs when > 0.")
    micro_batch_size: int = option(
        0,
        "pretrain: pictures of a replica in flight at a time; 0 = all. The loss keeps every negative of the whole "
        "batch, at the price of a second forward pass; batch norm takes the moments of each micro-batch.",
    )
    lineareval_while_pretraining: bool = option(
        True, "Train a linear classifier on h beside pretraining, behind a stop_gradient."
    )
    untrained_baseline: bool = option(
        False,
        "After pretraining with evaluation, train the same online linear head on the untrained encoder, for "
        "as many steps, and print both accuracies.",
    )
    checkpoint: str | None = option(
        None,
        "Checkpoint to fine-tune from: a prefix, a directory whose newest one is taken, or an exported SavedModel.",
    )
    fine_tune_after_block: int = option(
        -1,
        "finetune: -1 trains everything, 0 freezes the stem, k the stem and groups 1..k, 4 all of h.",
    )
    ft_proj_selector: int = option(
        0,
        "finetune: input of the linear head: 0 = h, i = i-th layer of the projection head, -1 = its output.",
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_choice("train_mode", self.train_mode, ("pretrain", "finetune"))
        require_range("train_epochs", self.train_epochs, above=0)
        require_range("train_steps", self.train_steps, at_least=0)
        require_range("micro_batch_size", self.micro_batch_size, at_least=0)
        if self.micro_batch_size and self.train_mode != "pretrain":
            raise InputError(
                "`micro_batch_size` must be 0 when fine-tuning: labels need no large batch. Received: "
                f"micro_batch_size={self.micro_batch_size}, train_mode={self.train_mode}. Pass a smaller "
                "--train_batch_size"
            )
        require_choice("fine_tune_after_block", self.fine_tune_after_block, (-1, 0, 1, 2, 3, 4))
        require_range("ft_proj_selector", self.ft_proj_selector, at_least=-1)


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save, and how much to keep."""

    checkpoint_epochs: float = option(1.0, "Epochs between checkpoints.")
    checkpoint_steps: int = option(0, "Steps between checkpoints; overrides --checkpoint_epochs when > 0.")
    keep_checkpoint_max: int = option(5, "Newest checkpoints to keep.")
    keep_hub_module_max: int = option(1, "Newest SavedModels to keep.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("checkpoint_epochs", self.checkpoint_epochs, above=0)
        require_range("checkpoint_steps", self.checkpoint_steps, at_least=0)
        require_range("keep_checkpoint_max", self.keep_checkpoint_max, at_least=1)
        require_range("keep_hub_module_max", self.keep_hub_module_max, at_least=1)


@dataclass(frozen=True)
class EvalConfig:
    """How the supervised head is evaluated."""

    eval_steps: int = option(0, "Evaluation batches; 0 means every example exactly once.")
    eval_name: str | None = option(None, "Name appended to the evaluation's summary directory.")
    eval_timeout: float = option(3600.0, "--mode=eval: seconds to wait for a new checkpoint before giving up.")

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_range("eval_steps", self.eval_steps, at_least=0)
        require_range("eval_timeout", self.eval_timeout, at_least=0)


@dataclass(frozen=True)
class RuntimeConfig:
    """Where the run lives and what it runs on."""

    mode: str = option("train", "What run.py does.", ("train", "eval", "train_then_eval"))
    model_dir: str | None = option(None, "Directory of the run; omitted: runs/<dataset>-<date>-<time>.")
    seed: int = option(0, "Seed of weights, shuffling and every augmentation.")
    precision: str = option(
        "float32",
        "Arithmetic of the layers: float32, bfloat16, or float16 (with dynamic loss scaling). Variables, batch-norm "
        "statistics, loss and optimiser are float32 always.",
        PRECISIONS,
    )
    jit_compile: bool = option(False, "Compile the whole training step with XLA; one device only.")
    strategy: str = option(
        "auto",
        "Devices: one_device, mirrored (all GPUs of the machine, or all logical CPUs), multi_worker (TF_CONFIG), tpu, "
        "or auto: tpu with --use_tpu or --tpu_name, multi_worker where TF_CONFIG names a cluster, mirrored with 2 or "
        "more GPUs, otherwise one device.",
        ("auto", "one_device", "mirrored", "multi_worker", "tpu"),
    )
    cpu_devices: int = option(
        0, "Splits the CPU into that many logical devices, to try out replicas without GPUs; 0 leaves it alone."
    )
    use_tpu: bool = option(False, "Run on a TPU (our default is False; the authors' is True).")
    tpu_name: str | None = option(None, "Name of the TPU to use, or 'local' on a TPU VM.")
    tpu_zone: str | None = option(None, "Zone of the TPU; omitted: the machine's own.")
    gcp_project: str | None = option(None, "Project of the TPU; omitted: the machine's own.")
    master: str | None = option(None, "Address of the TPU's master; --tpu_name is the usual way.")

    @property
    def directory(self) -> str:
        """The run's directory, once it has one."""
        if self.model_dir is None:
            raise InputError("`model_dir` must name the run's directory. Received: None. Pass --model_dir=DIR")
        return self.model_dir

    @property
    def tpu_request(self) -> tuple[str, Any] | None:
        """Name and value of the flag that asks for a TPU; None without one."""
        asked = {"tpu_name": self.tpu_name, "master": self.master, "use_tpu": self.use_tpu}
        return next(((name, value) for name, value in asked.items() if value), None)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        require_choice("mode", self.mode, ("train", "eval", "train_then_eval"))
        require_range("seed", self.seed, at_least=0, at_most=2**31 - 1)
        require_choice("precision", self.precision, PRECISIONS)
        require_choice("strategy", self.strategy, ("auto", "one_device", "mirrored", "multi_worker", "tpu"))
        require_range("cpu_devices", self.cpu_devices, at_least=0)
        if self.tpu_request is not None and self.strategy not in ("auto", "tpu"):
            name, value = self.tpu_request
            raise InputError(
                f"`{name}` asks for a TPU. Received: {name}={value} with strategy={self.strategy}. Pass one of the two"
            )


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that defines a run; written to model_dir as flags.json."""

    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvalConfig = EvalConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def validate(self) -> None:
        """Checks every part, then what only holds between parts. Raises InputError."""
        for part in parts(self):
            part.validate()
        selector, head = self.train.ft_proj_selector, self.model.proj_head_mode
        layers = {"none": 0, "linear": 1, "nonlinear": self.model.num_proj_layers}[head]
        if self.train.train_mode == "finetune" and selector > layers:
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
        if self.train.untrained_baseline and not self.train.lineareval_while_pretraining:
            raise InputError(
                "`untrained_baseline` compares online linear heads. Received: "
                "untrained_baseline=True, lineareval_while_pretraining=False. Turn the latter on"
            )

    def to_flags(self) -> dict[str, Any]:
        """All fields, flat, by flag name."""
        return {field.name: getattr(part, field.name) for part in parts(self) for field in dataclasses.fields(part)}

    def to_json(self) -> str:
        """The flat fields as JSON."""
        return json.dumps(self.to_flags(), indent=2, sort_keys=True) + "\n"


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


@dataclass(frozen=True)
class Durations:
    """Every length of a run in steps, computed once."""

    train_steps: int
    warmup_steps: int
    checkpoint_steps: int
    steps_per_epoch: int


def resolve_durations(config: ExperimentConfig, num_examples: int) -> Durations:
    """Turns epochs into steps (the authors' formulas: N * epochs // batch + 1, warm-up rounded).

    Args:
        config: the experiment.
        num_examples: pictures in the training split.

    Returns:
        the run's lengths in steps.

    Raises:
        InputError: a batch larger than the data, or a warm-up that never ends.
    """
    batch = config.data.train_batch_size
    if num_examples < batch:
        raise InputError(
            f"`train_batch_size` must be at most the {num_examples} pictures of the training split. "
            f"Received: train_batch_size={batch}. Pass a smaller batch or more pictures"
        )
    train, optimizer = config.train, config.optimizer
    train_steps = train.train_steps or int(num_examples * train.train_epochs // batch) + 1
    warmup_steps = round(optimizer.warmup_epochs * num_examples / batch)
    if warmup_steps >= train_steps:
        raise InputError(
            f"`warmup_epochs` must end before training does, or the learning rate never decays. Received: "
            f"warmup_epochs={optimizer.warmup_epochs:g} ({warmup_steps} steps) with {train_steps} training "
            "steps. Pass a smaller --warmup_epochs or train longer"
        )
    steps_per_epoch = max(1, round(num_examples / batch))
    every = config.checkpoint.checkpoint_steps or max(
        1, round(config.checkpoint.checkpoint_epochs * num_examples / batch)
    )
    return Durations(train_steps, warmup_steps, every, steps_per_epoch)
