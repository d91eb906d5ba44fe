"""How networks are trained, saved and evaluated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError

OPTIMIZERS = ("lars", "lamb", "momentum", "adam")
ONLINE_HEADS = ("standardised", "authors")
# These decay and adapt kernels by themselves; with the others weight decay is part of the loss.
ADAPTIVE_OPTIMIZERS = ("lars", "lamb")
# Steps are counted in 64 bits, whatever the data.
MOST_EPOCHS = 1e9


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and learning-rate schedule (SimCLR, Section 2.2 and Appendix B.1)."""

    optimizer: str = option(
        "lars",
        "lars, lamb (on TensorFlow 2.15: from TensorFlow Addons), momentum (Nesterov SGD) or adam.",
        OPTIMIZERS,
    )
    learning_rate: float = option(0.3, "Base learning rate, before scaling with the batch size.", above=0)
    learning_rate_scaling: str = option(
        "linear", "linear: base x batch / 256; sqrt: base x sqrt(batch).", ("linear", "sqrt")
    )
    warmup_epochs: float = option(
        10.0,
        "Epochs of linear warm-up. If it is not given and training is shorter than the default: a tenth of the steps.",
        at_least=0,
        at_most=MOST_EPOCHS,
    )
    weight_decay: float = option(1e-6, "Weight decay.", at_least=0)
    momentum: float = option(0.9, "Momentum of lars and momentum.", at_least=0, at_most=1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)

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
        "pretrain (contrastive), finetune (supervised) or distill (by the outputs of --teacher); the last two from "
        "scratch without --checkpoint.",
        ("pretrain", "finetune", "distill"),
    )
    train_epochs: float = option(100.0, "Epochs to train.", above=0, at_most=MOST_EPOCHS)
    train_steps: int = option(0, "Steps to train; overrides --train_epochs when > 0.", at_least=0)
    micro_batch_size: int = option(
        0,
        "pretrain, distill: images of a replica in flight at a time; 0 = all. The loss is that of the whole batch; "
        "pretraining keeps every negative, at the price of a second forward pass. Batch norm takes the moments of each "
        "micro-batch.",
        at_least=0,
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
        "Checkpoint to fine-tune from, or that a student begins with: a prefix, a directory whose newest one is taken, "
        "an exported SavedModel, or weights of the authors' or PyTorch's (docs/weights.md). Flags of the network that "
        "are not given come from it.",
        path=True,
    )
    fine_tune_after_block: int = option(
        -1,
        "finetune, distill: -1 trains everything, 0 freezes the stem, k the stem and groups 1..k, 4 all of h.",
        choices=(-1, 0, 1, 2, 3, 4),
    )
    ft_proj_selector: int = option(
        0,
        "finetune, distill: input of the linear head: 0 = h, i = i-th layer of the projection head, -1 = its output.",
        at_least=-1,
    )
    online_head: str = option(
        "standardised",
        "pretrain: how the linear classifier of --lineareval_while_pretraining is trained. standardised: on "
        "features of mean 0 and variance 1, with its own learning rate; authors: on h unchanged, by --optimizer "
        "at the encoder's rate. The encoder is the same with both.",
        ONLINE_HEADS,
    )
    skip_nonfinite_steps: int = option(
        0,
        "Number of updates that a run may skip because the loss or a gradient is not finite. A skipped step "
        "counts as a step, and leaves weights, optimiser and batch-norm statistics unchanged. When no skip is "
        "left, as with 0, the next such step ends the run with an error.",
        at_least=0,
    )
    ema_decay: float = option(
        0.0,
        "Decay of a moving average of all weights and batch-norm statistics, such as 0.999; 0 = none. It is evaluated "
        "beside the weights themselves, and exported into --model_dir/ema.",
        at_least=0,
    )
    profile_steps: str | None = option(
        None,
        "First and last step to trace for TensorBoard's profiler, such as 10,20. The trace goes into --model_dir. "
        "Steps count from 1; the first is slow, because it traces the graph.",
    )

    draw_views: bool = option(
        True,
        "Draw some images and their views when training begins: views.png in --model_dir, and TensorBoard's images.",
    )
    dry_run: bool = option(
        False,
        "Build the networks and the graph of a step, print parameters, FLOPs, memory, steps and learning rates, and "
        "end. Nothing is trained, downloaded or written. ImageNet, CIFAR-10 and others whose sizes are known need not "
        "be there.",
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.ema_decay >= 1:
            raise InputError(
                f"`ema_decay` must be in [0, 1). Received: ema_decay={self.ema_decay:g}. Pass --ema_decay=0.999, or 0 "
                "for no average"
            )
        self._read_profile_steps()
        if self.micro_batch_size and self.train_mode == "finetune":
            raise InputError(
                "`micro_batch_size` must be 0 when fine-tuning: labels need no large batch. Received: "
                f"micro_batch_size={self.micro_batch_size}, train_mode={self.train_mode}. Pass a smaller "
                "--train_batch_size"
            )

    @property
    def trains_classifier(self) -> bool:
        """Whether the supervised head is trained together with the encoder, on one view of an image."""
        return self.train_mode in ("finetune", "distill")

    @property
    def steps_to_profile(self) -> tuple[int, int] | None:
        """First and last step of --profile_steps; None without it."""
        return self._read_profile_steps()

    def _read_profile_steps(self) -> tuple[int, int] | None:
        if not self.profile_steps:
            return None
        words = [word.strip() for word in self.profile_steps.split(",")]
        steps = [int(word) for word in words if word.isascii() and word.isdigit()]
        if len(words) != 2 or len(steps) != 2 or not 1 <= steps[0] <= steps[1]:
            raise InputError(
                "`profile_steps` must be the first and the last step, counted from 1, as --profile_steps=10,20. "
                f"Received: profile_steps={self.profile_steps!r}"
            )
        return steps[0], steps[1]

    @property
    def trains_online_head(self) -> bool:
        """Whether a linear classifier on h is trained beside pretraining, where there are labels."""
        return self.train_mode == "pretrain" and self.lineareval_while_pretraining


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save, and how much to keep."""

    checkpoint_epochs: float = option(1.0, "Epochs between checkpoints.", above=0, at_most=MOST_EPOCHS)
    checkpoint_steps: int = option(0, "Steps between checkpoints; overrides --checkpoint_epochs when > 0.", at_least=0)
    keep_checkpoint_max: int = option(5, "Newest checkpoints to keep.", at_least=1)
    keep_hub_module_max: int = option(1, "Newest SavedModels to keep.", at_least=1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class EvalConfig:
    """How the supervised head, and h while pretraining, are evaluated."""

    eval_steps: int = option(0, "Evaluation batches; 0 means every example exactly once.", at_least=0)
    eval_name: str | None = option(None, "Name appended to the evaluation's summary directory.")
    eval_timeout: float = option(
        3600.0, "--mode=eval: seconds to wait for a new checkpoint before giving up.", at_least=0, at_most=1e9
    )
    eval_every_epochs: float = option(
        0.0,
        "pretrain: epochs between evaluations of h on --eval_split by kNN (k = 200, T = 0.1) and a linear "
        "classifier, during training and at the end; 0.5 is twice an epoch, 0 is never. Needs labels.",
        at_least=0,
        at_most=MOST_EPOCHS,
    )
    online_eval_examples: int = option(
        10_000,
        "--eval_every_epochs: number of labelled training images that kNN searches and the linear classifier "
        "learns from, chosen at random by --data_seed; all if there are fewer. k is at most this number.",
        at_least=1,
    )
    online_data_dir: str | None = option(
        None,
        "pretrain: another folder of images with labels, on which h is evaluated by kNN and a linear classifier, in "
        "place of the images of --dataset, which then need no labels. Its own splits are used, or a tenth is held out.",
        path=True,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
