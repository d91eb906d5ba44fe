"""The step of a distillation: a student learns what a frozen teacher says of the same views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.losses.distillation import label_cross_entropy, soft_cross_entropy, weighted_loss
from tf_simclr.losses.supervised import accuracy
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.optim.decay import l2_penalty
from tf_simclr.train.device_views import Views, given_views
from tf_simclr.train.micro_batch import fold, or_zeros
from tf_simclr.train.precision import Updater
from tf_simclr.train.step import Logits, Metrics, Step

_OBJECTIVE = "objective"


def distillation_terms(
    logits: tf.Tensor, teacher_logits: tf.Tensor, labels: tf.Tensor, config: ExperimentConfig
) -> Metrics:
    """The losses of a student, float32 scalars.

    Args:
        logits: of the student, [n, classes].
        teacher_logits: of the same images, [n, classes].
        labels: int [n], -1 without a label.
        config: says the temperature and the weight of the labels.

    Returns:
        as summary tags train/distill_loss in nats, train/teacher_agreement (the share of images whose most probable
        class is the teacher's) and, where labels count, train/supervised_loss and train/supervised_acc; and
        "objective", what the student minimises.
    """
    settings = config.distillation
    distilled = soft_cross_entropy(logits, teacher_logits, temperature=settings.distill_temperature)
    same = tf.equal(tf.argmax(logits, axis=1), tf.argmax(teacher_logits, axis=1))
    terms = {"train/distill_loss": distilled, "train/teacher_agreement": tf.reduce_mean(tf.cast(same, tf.float32))}
    labelled = None
    if settings.distill_alpha < 1:
        labelled = label_cross_entropy(logits, labels)
        terms |= {"train/supervised_loss": labelled, "train/supervised_acc": accuracy(logits, labels)}
    return terms | {_OBJECTIVE: weighted_loss(distilled, labelled, alpha=settings.distill_alpha)}


@dataclass(frozen=True)
class _Distillation:
    """A student and its teacher; attributes as `build_distill_step`."""

    model: SimCLRModel
    teacher: Logits | None
    updater: Updater
    config: ExperimentConfig
    penalized: list[Any]
    views: Views

    def step(self, batch: dict[str, Any]) -> Metrics:
        """One update of the student."""
        micro = self.config.train.micro_batch_size
        gradients, metrics = self.of_micro_batches(batch, micro) if micro else self.piece(batch, None, 1.0)
        with tf.GradientTape() as tape:
            decay = l2_penalty(self.penalized, self.config.optimizer.weight_decay)
            scaled = self.updater.scaled(decay)
        variables = self.updater.variables
        decays = or_zeros(tape.gradient(scaled, variables), variables)
        self.updater.apply([a + b for a, b in zip(gradients, decays, strict=True)])
        total = metrics.pop(_OBJECTIVE) + decay
        return metrics | {"train/weight_decay": decay, "train/total_loss": total}

    def piece(self, batch: dict[str, Any], rows: tf.Tensor | None, share: float) -> tuple[list[tf.Tensor], Metrics]:
        """The scaled gradients and terms of the images `rows`, or of all, times their share in the batch."""
        variables = self.updater.variables
        images = self.views(batch, rows)[0]
        labels = batch["label"] if rows is None else tf.gather(batch["label"], rows)
        assert self.teacher is not None, "an evaluation takes no step"
        wanted = self.teacher(images)
        with tf.GradientTape() as tape:
            logits = self.model.endpoints(images, training=True)["logits_sup"]
            terms = distillation_terms(logits, wanted, labels, self.config)
            terms = {name: share * value for name, value in terms.items()}
            scaled = self.updater.scaled(terms[_OBJECTIVE])
        return or_zeros(tape.gradient(scaled, variables), variables), terms

    def of_micro_batches(self, batch: dict[str, Any], size: int) -> tuple[list[tf.Tensor], Metrics]:
        """As `piece` of the whole batch, `size` images at a time: every term is a mean over images."""
        total = batch["label"].shape[0]
        names = ["train/distill_loss", "train/teacher_agreement", _OBJECTIVE]
        if self.config.distillation.distill_alpha < 1:
            names += ["train/supervised_loss", "train/supervised_acc"]

        def body(start: Any, count: int, state: Any) -> Any:
            gradients, sums = state
            more, terms = self.piece(batch, start + tf.range(count), count / total)
            added = [a + b for a, b in zip(gradients, more, strict=True)]
            return added, {name: sums[name] + terms[name] for name in names}

        zeros = [tf.zeros(v.shape) for v in self.updater.variables]
        return fold(body, (zeros, {name: tf.zeros([]) for name in names}), total, size)


def build_distill_step(
    model: SimCLRModel,
    teacher: Logits | None,
    updater: Updater,
    config: ExperimentConfig,
    penalized: list[Any],
    *,
    views: Views = given_views,
) -> Step:
    """Distillation from a frozen teacher (SimCLR v2, Section 2), with or without micro-batches.

    Args:
        model: encoder and supervised head of the student.
        teacher: images float32 [n, s, s, 3] -> its logits float32 [n, classes]. It sees the view that the student sees.
            None where no step will be taken.
        updater: of model.trainable_variables.
        config: the experiment.
        penalized: variables whose weight decay is part of the loss.
        views: makes one view of a batch, or of some of its images.

    Returns:
        step(batch) -> metrics; batch has what `views` takes, and batch["label"] is int64 [n], -1 without a label.
    """
    return _Distillation(model, teacher, updater, config, penalized, views).step
