"""One training step, as it runs on a replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig, LossConfig
from tf_simclr.data.views import from_levels
from tf_simclr.losses.anchors import ContrastiveOutput, Memory
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.objects import loss_of
from tf_simclr.losses.supervised import accuracy, cross_entropy
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.optim.decay import l2_penalty
from tf_simclr.train.device_views import Views, given_views
from tf_simclr.train.online_head import OnlineHead
from tf_simclr.train.precision import Updater

Metrics = dict[str, tf.Tensor]
Step = Callable[[dict[str, Any]], Metrics]
# Images [n, s, s, 3] -> logits [n, classes].
Logits = Callable[[tf.Tensor], tf.Tensor]
Contrast = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], ContrastiveOutput]

# What the loss of a step remembers of earlier batches.
Remembered = Callable[[], Memory | None]

LOSSES = ("train/contrast_loss", "train/supervised_loss", "train/weight_decay")


def nothing_remembered() -> None:
    """For a step without a memory."""


def supervised_terms(logits: tf.Tensor, labels: tf.Tensor) -> Metrics:
    """Loss and top-1 accuracy of logits [n, classes] against labels [n], as summary tags; -1 is no label."""
    return {
        "train/supervised_loss": cross_entropy(logits, labels),
        "train/supervised_acc": accuracy(logits, labels),
    }


def contrastive_loss(
    z_a: tf.Tensor,
    z_b: tf.Tensor,
    settings: LossConfig,
    labels: tf.Tensor | None = None,
    memory: Memory | None = None,
) -> ContrastiveOutput:
    """The loss that was chosen, of a replica's two projections [n, d]; labels int [n] for one that learns from them."""
    if memory is not None:  # the settings let nt_xent alone have one
        return nt_xent(z_a, z_b, temperature=settings.temperature, hidden_norm=settings.hidden_norm, memory=memory)
    return loss_of(settings).labelled_statistics(z_a, z_b, labels)


def contrastive_terms(
    projections: tf.Tensor,
    config: ExperimentConfig,
    contrast: Contrast | None = None,
    labels: tf.Tensor | None = None,
    memory: Memory | None = None,
) -> Metrics:
    """Loss, accuracy and entropy of projections [2n, d], first views before second views, as summary tags.

    Args:
        projections: float32 [2n, d].
        config: says which loss.
        contrast: a loss in place of the config's, of two projections [n, d] and the labels.
        labels: int [n], -1 without a label, for a loss that learns from them; None where the data have none.
        memory: negatives of earlier batches, for the config's loss; None without.
    """
    z_a, z_b = tf.split(projections, 2, axis=0)
    if contrast is not None:
        output = contrast(z_a, z_b, labels)
    else:
        output = contrastive_loss(z_a, z_b, config.loss, labels, memory)
    return {
        "train/contrast_loss": output.loss,
        "train/contrast_acc": output.accuracy,
        "train/contrast_entropy": output.entropy,
    }


def both_views(labels: tf.Tensor) -> tf.Tensor:
    """The labels [2n] of the features of both views, from those of the images [n]."""
    return tf.concat([labels, labels], axis=0)


def online_examples(model: SimCLRModel, batch: dict[str, Any], h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What the online head learns from: h of images as evaluation sees them, where the batch has some, and labels.

    Between h of augmented views and of plain images lie several points of accuracy.

    Args:
        model: its encoder runs in inference mode: nothing of it changes.
        batch: as in `build_pretrain_step`, perhaps with "plain", float32 or uint8 [k, s, s, 3], of its first k images.
        h: of both views, [2n, d].
    """
    if "plain" not in batch:
        return h, both_views(batch["label"])
    plain = from_levels(batch["plain"])
    labels = batch["label"][: plain.shape[0] or tf.shape(plain)[0]]
    return model.encoder(plain, training=False)["final_avg_pool"], labels


def with_total(metrics: Metrics) -> Metrics:
    """The metrics and train/total_loss, the sum of the losses among them."""
    return metrics | {"train/total_loss": tf.add_n([metrics[name] for name in LOSSES if name in metrics])}


def build_pretrain_step(
    model: SimCLRModel,
    updater: Updater,
    config: ExperimentConfig,
    penalized: list[Any],
    *,
    contrastive: bool = True,
    contrast: Contrast | None = None,
    online: OnlineHead | None = None,
    views: Views = given_views,
    remembered: Remembered = nothing_remembered,
) -> Step:
    """Contrastive pretraining with the online linear head (SimCLR, Algorithm 1 and Appendix B.6).

    Args:
        model: encoder, projection head, and a supervised head where there are labels.
        updater: of the variables that are trained.
        config: the experiment.
        penalized: variables whose weight decay is part of the loss.
        contrastive: False trains the linear head alone, on the encoder as it is: the floor of the comparison.
        contrast: a loss of two projections and labels in place of the config's.
        online: trains the supervised head; None leaves it to `updater`, as the authors do.
        views: makes two views float32 [n, s, s, 3] of a batch; by default they are batch["views"].
        remembered: gives the negatives of earlier batches, for the config's loss.

    Returns:
        step(batch) -> metrics; batch has what `views` takes, and batch["label"] is int64 [n].
    """
    head, project = model.supervised_head, model.require_projection_head()

    def step(batch: dict[str, Any]) -> Metrics:
        metrics: Metrics = {}
        images = tf.concat(views(batch), axis=0)  # [2n, s, s, 3]
        with tf.GradientTape() as tape:
            h = model.encoder(images, training=True)["final_avg_pool"]
            if contrastive:
                z = project(h, training=True)["proj_head_output"]
                metrics |= contrastive_terms(z, config, contrast, batch["label"], remembered())
            if head is not None and online is None:
                # Behind the stop, its gradient never reaches the encoder: the head only measures it.
                logits = head(tf.stop_gradient(h), training=True)
                metrics |= supervised_terms(logits, both_views(batch["label"]))
            metrics["train/weight_decay"] = l2_penalty(penalized, config.optimizer.weight_decay)
            scaled = updater.scaled(with_total(metrics)["train/total_loss"])
        updater.apply(tape.gradient(scaled, updater.variables))
        if online is not None:
            metrics |= online.train(*online_examples(model, batch, h))
        return with_total(metrics)

    return step


def build_finetune_step(
    model: SimCLRModel,
    updater: Updater,
    config: ExperimentConfig,
    penalized: list[Any],
    *,
    views: Views = given_views,
) -> Step:
    """Supervised training: fine-tuning a pretrained encoder, or a baseline from scratch (SimCLR, Appendix B.5).

    Frozen layers run in inference mode by themselves: `trainable=False` is what freezes them.

    Args:
        model: encoder and supervised head, perhaps with layers of the projection head between.
        updater: of model.trainable_variables.
        config: the experiment.
        penalized: variables whose weight decay is part of the loss.
        views: makes one view float32 [n, s, s, 3] of a batch; by default it is in batch["views"].

    Returns:
        step(batch) -> metrics; batch has what `views` takes, and batch["label"] is int64 [n].
    """

    def step(batch: dict[str, Any]) -> Metrics:
        images = views(batch)[0]
        with tf.GradientTape() as tape:
            logits = model.endpoints(images, training=True)["logits_sup"]
            metrics = supervised_terms(logits, batch["label"])
            metrics["train/weight_decay"] = l2_penalty(penalized, config.optimizer.weight_decay)
            metrics = with_total(metrics)
            scaled = updater.scaled(metrics["train/total_loss"])
        updater.apply(tape.gradient(scaled, updater.variables))
        return metrics

    return step
