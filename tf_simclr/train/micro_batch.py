"""The contrastive step on a batch whose activations do not fit into memory together.

The loss needs all projections of a batch, but only their values: so every micro-batch is embedded without a tape, the
loss of the whole batch is differentiated with respect to the projections alone, and each micro-batch is run once more,
now with a tape, to carry its part of that gradient to the parameters (Gao et al. 2021, "gradient cache"). The sum is
the gradient of the whole batch, with all its negatives, which accumulating the gradients of small batches is not. Only
batch norm sees the difference: it takes the moments of each micro-batch, the same in both passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import frozen_statistics
from tf_simclr.optim.decay import l2_penalty
from tf_simclr.train.device_views import Views, given_views
from tf_simclr.train.online_head import OnlineHead
from tf_simclr.train.precision import Updater
from tf_simclr.train.step import (
    Metrics,
    Remembered,
    Step,
    both_views,
    contrastive_terms,
    nothing_remembered,
    online_examples,
    supervised_terms,
    with_total,
)
from tf_simclr.train.step_checks import REPLICATING

Body = Callable[[Any, int, Any], Any]


def describe_micro_batches(micro_batch_size: int, share: int) -> str:
    """A line for the log: how a replica's share of the batch is cut, and what that means for batch norm."""
    whole, rest = divmod(share, micro_batch_size)
    remainder = f" and one of {rest}" if rest else ""
    return (
        f"{whole} micro-batches of {micro_batch_size} images{remainder} a step and replica; the loss is that of the "
        "whole batch, batch norm takes the moments of each micro-batch"
    )


def fold(body: Body, state: Any, total: int, size: int) -> Any:
    """Threads a state of tensors through body(start, count, state) for one micro-batch after the other.

    One device loops inside the graph. Replicas take their turns written out one by one, since a replica cannot
    communicate (batch norm, and assignments to its statistics) from inside a loop: their graph grows with the number
    of micro-batches.

    Args:
        body: called with the first example, a number or an int32 scalar, and the number of examples, always a number.
        state: tensors whose shapes stay.
        total: examples in all.
        size: examples in a micro-batch; what does not divide comes last.
    """
    whole = total // size
    written_out = [(index * size, size) for index in range(whole)]
    if not isinstance(tf.distribute.get_strategy(), REPLICATING):
        written_out = []
        _, state = tf.while_loop(
            lambda index, _: index < whole,
            lambda index, current: (index + 1, body(index * size, size, current)),
            (tf.constant(0), state),
            parallel_iterations=1,  # the next micro-batch must not start before this one's activations are free
        )
    if total % size:
        written_out.append((whole * size, total % size))
    for start, count in written_out:
        with tf.control_dependencies(tf.nest.flatten(state)):
            state = body(start, count, state)
    return state


def project_pieces(model: SimCLRModel, batch: dict[str, Any], views: Views, size: int) -> tf.Tensor:
    """Projections float32 [2n, d] of a whole batch, `size` images at a time: first views before second views.

    Batch norms normalise by each micro-batch and leave their moving statistics alone.
    """
    project = model.require_projection_head()
    total, width = batch["label"].shape[0], project.output["proj_head_output"].shape[-1]

    def body(start: Any, count: int, z: tf.Tensor) -> tf.Tensor:
        rows = start + tf.range(count)
        part = project_images(model, tf.concat(views(batch, rows), axis=0))
        return tf.tensor_scatter_nd_update(z, _both_views(rows, total)[:, tf.newaxis], part)

    return fold(body, tf.zeros([2 * total, width]), total, size)


def project_images(model: SimCLRModel, images: tf.Tensor) -> tf.Tensor:
    """Projections float32 [b, d] of images [b, s, s, 3], normalised by their batch; moving statistics stay."""
    with frozen_statistics():
        h = model.encoder(images, training=True)["final_avg_pool"]
        return model.require_projection_head()(h, training=True)["proj_head_output"]


@dataclass(frozen=True)
class _MicroBatches:
    """A model's two passes over the micro-batches of a replica's batch; attributes as `build_micro_batch_step`."""

    model: SimCLRModel
    updater: Updater
    config: ExperimentConfig
    penalized: list[Any]
    contrastive: bool
    online: OnlineHead | None
    views: Views
    remembered: Remembered

    def step(self, batch: dict[str, Any]) -> Metrics:
        """One update of the parameters."""
        metrics: Metrics = {}
        z_gradient = None
        if self.contrastive:
            z = project_pieces(self.model, batch, self.views, self.config.train.micro_batch_size)
            with tf.GradientTape() as tape:
                tape.watch(z)
                metrics |= contrastive_terms(z, self.config, labels=batch["label"], memory=self.remembered())
            z_gradient = tape.gradient(metrics["train/contrast_loss"], z)  # [2n, d]
        with tf.GradientTape() as tape:
            metrics["train/weight_decay"] = l2_penalty(self.penalized, self.config.optimizer.weight_decay)
            scaled = self.updater.scaled(metrics["train/weight_decay"])
        gradients = or_zeros(tape.gradient(scaled, self.updater.variables), self.updater.variables)
        gradients, h = self.backpropagate(batch, z_gradient, gradients)
        labels = both_views(batch["label"])
        if self.model.supervised_head is not None and self.online is None:
            gradients, terms = self.with_head(h, labels, gradients)
            metrics |= terms
        self.updater.apply(gradients)
        if self.online is not None:
            metrics |= self.online.train(*online_examples(self.model, batch, h))
        return with_total(metrics)

    def backpropagate(
        self, batch: dict[str, Any], z_gradient: tf.Tensor | None, gradients: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Second pass: the gradients given plus those of all micro-batches, and h float32 [2n, d] of the batch."""
        total, width = batch["label"].shape[0], self.model.encoder.output["final_avg_pool"].shape[-1]

        def body(start: Any, count: int, state: Any) -> Any:
            sums, seen = state
            rows = start + tf.range(count)
            own = None if z_gradient is None else tf.gather(z_gradient, _both_views(rows, total))
            part, h = self.piece(batch, rows, own)
            seen = tf.tensor_scatter_nd_update(seen, _both_views(rows, total)[:, tf.newaxis], h)
            return [a + b for a, b in zip(sums, part, strict=True)], seen

        return fold(body, (gradients, tf.zeros([2 * total, width])), total, self.config.train.micro_batch_size)

    def piece(
        self, batch: dict[str, Any], rows: tf.Tensor, z_gradient: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The part of one micro-batch, images `rows`, in the scaled gradients, and its h float32 [2 rows, d]."""
        variables = self.updater.variables
        with tf.GradientTape() as tape:
            h = self.model.encoder(tf.concat(self.views(batch, rows), axis=0), training=True)["final_avg_pool"]
            seen = tf.stop_gradient(tf.cast(h, tf.float32))
            if z_gradient is None:
                return [tf.zeros(v.shape) for v in variables], seen
            z = self.model.require_projection_head()(h, training=True)["proj_head_output"]
            # Its gradient with respect to z is the loss's own.
            scaled = self.updater.scaled(tf.reduce_sum(z * z_gradient))
        gradients = _after(scaled, or_zeros(tape.gradient(scaled, variables), variables))
        return gradients, seen  # the supervised head, where it is among the variables, has its gradient elsewhere

    def with_head(self, h: tf.Tensor, labels: tf.Tensor, gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], Metrics]:
        """The scaled gradients plus those of the supervised head on h [2n, d], and the supervised terms."""
        head = self.model.supervised_head
        assert head is not None
        with tf.GradientTape() as tape:
            terms = supervised_terms(head(h, training=True), labels)
            scaled = self.updater.scaled(terms["train/supervised_loss"])
        own = tape.gradient(scaled, self.updater.variables)
        return [a if b is None else a + b for a, b in zip(gradients, own, strict=True)], terms


def build_micro_batch_step(
    model: SimCLRModel,
    updater: Updater,
    config: ExperimentConfig,
    penalized: list[Any],
    *,
    contrastive: bool = True,
    online: OnlineHead | None = None,
    views: Views = given_views,
    remembered: Remembered = nothing_remembered,
) -> Step:
    """The step of `build_pretrain_step` with only config.train.micro_batch_size images of a replica in flight.

    Arguments and result are those of `build_pretrain_step`; the batch must have a static size. Moving statistics move
    once a micro-batch. `views` is called for each micro-batch, once in each pass. Beside the batch the step holds the
    projections [2n, d] with their gradient, all h of it, and a second set of parameter gradients.
    """
    return _MicroBatches(model, updater, config, penalized, contrastive, online, views, remembered).step


def _both_views(rows: tf.Tensor, total: int) -> tf.Tensor:
    """Where the two views of some images stand in [2 total, ...]."""
    return tf.concat([rows, rows + total], axis=0)


def or_zeros(gradients: list[tf.Tensor | None], variables: list[Any]) -> list[tf.Tensor]:
    """The gradients, zeros for a variable that the loss does not depend on."""
    return [tf.zeros(v.shape) if g is None else g for g, v in zip(gradients, variables, strict=True)]


def _after(loss: tf.Tensor, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """The gradients of a loss that is a number, and NaN otherwise; either way not before the loss is known.

    z * z_gradient is linear in z: its gradient needs no value of z, so nothing but control edges keeps the update of a
    parameter behind its read in the forward pass. TensorFlow's graph optimiser drops such edges (2.15, 2.21: its
    dependency_optimization), and now and then a backward pass went through parameters already updated. An edge that
    carries data stays.
    """
    return [tf.where(tf.math.is_nan(loss), tf.cast(loss, g.dtype), g) for g in gradients]
