"""A memory bank: projections of earlier batches, which are more negatives for the contrastive loss."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import ExperimentConfig
from tf_simclr.losses.anchors import Memory, prepare
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.ops import collectives
from tf_simclr.train.average import moved_averages
from tf_simclr.train.device_views import Views
from tf_simclr.train.micro_batch import project_images, project_pieces
from tf_simclr.train.step import Metrics, Step


class MemoryBank:
    """A queue of the newest projections, made by a copy of the networks that follows them slowly.

    A step, after MoCo's Algorithm 1:

        keys   <- projections of the batch, both views, by the copy
        update of the networks, with the queue as it is as more negatives of NT-Xent
        copy   <- decay * copy + (1 - decay) * networks, their moving statistics too
        queue  <- keys of all replicas, then what was in the queue, less its oldest entries

    The decay is MoCo's, the same from the first step on: unlike `WeightAverage`, the copy takes part in the training.
    Its batch norms normalise by the batch, as the networks' do. Positives, and the negatives of the batch itself, come
    from the networks, with gradient, as without a memory.

    Before the queue is full, the entries that it lacks are left out of the loss, so that the first step is one without
    a memory. All replicas hold the same queue, in the order of the global batch.

    Call it inside the strategy's scope.

    Args:
        config: says size, decay, whether projections are normalised, and how many images a replica takes at a time.
        model: the networks that are trained.
        copy: networks of the same shape, whose values are overwritten.
        views: makes two views of a batch, as in `build_pretrain_step`.

    Reference: SimCLR v2 (Chen et al. 2020), Section 2; MoCo (He et al. 2020), Algorithm 1 and Equation 2.
    """

    def __init__(self, config: ExperimentConfig, model: SimCLRModel, copy: SimCLRModel, views: Views):
        self._config, self._copy, self._views = config, copy, views
        self._copies = {path: compat.raw_variable(v) for path, v in copy.named_variables().items()}
        self._originals = {path: compat.raw_variable(model.named_variables()[path]) for path in self._copies}
        width = copy.require_projection_head().output["proj_head_output"].shape[-1]
        self._queue = _variable(tf.zeros([config.loss.memory_size, width]), "memory_queue")
        # A float, so that a step that is left out restores it with all other values; counters go on.
        self._filled = _variable(tf.zeros([]), "memory_filled")
        self.begin()

    def begin(self) -> None:
        """Makes the copy equal to the networks as they are now."""
        for path, variable in self._copies.items():
            variable.assign(self._originals[path].read_value())

    def named_state(self) -> dict[str, Any]:
        """Path -> variable of what a resumed run needs."""
        own = {"memory/queue": self._queue, "memory/filled": self._filled}
        return own | {f"memory/{path}": variable for path, variable in self._copies.items()}

    def remembered(self) -> Memory:
        """The queue as it is."""
        return Memory(tf.convert_to_tensor(self._queue), tf.cast(tf.convert_to_tensor(self._filled), tf.int32))

    def remembering(self, step: Step) -> Step:
        """The step, whose loss asks for `remembered`, and an update of copy and queue after it."""

        def step_and_remember(batch: dict[str, Any]) -> Metrics:
            keys = self._keys(batch)  # [2N, d], N global
            metrics = step(batch)
            new = self._pushed(keys) | moved_averages(self._copies, self._originals, self._config.loss.memory_decay)
            variables = {"queue": self._queue, "filled": self._filled} | self._copies
            collectives.write_own_copies([variables[path] for path in new], list(new.values()))
            return metrics

        return step_and_remember

    def _keys(self, batch: dict[str, Any]) -> tf.Tensor:
        """Projections of all replicas by the copy, float32 [2N, d]: all first views, then all second views."""
        size = self._config.train.micro_batch_size
        if size:
            z = project_pieces(self._copy, batch, self._views, size)
        else:
            z = project_images(self._copy, tf.concat(self._views(batch), axis=0))
        own = tf.split(prepare(z, self._config.loss.hidden_norm), 2, axis=0)
        return tf.concat([collectives.gather_with_gradient(view) for view in own], axis=0)

    def _pushed(self, keys: tf.Tensor) -> dict[str, tf.Tensor]:
        """The queue with more entries at its front, and how many it then has."""
        size, more = self._config.loss.memory_size, tf.shape(keys)[0]
        queue = tf.concat([keys, tf.convert_to_tensor(self._queue)[: size - more]], axis=0)
        filled = tf.minimum(tf.convert_to_tensor(self._filled) + tf.cast(more, tf.float32), float(size))
        return {"queue": tf.ensure_shape(queue, self._queue.shape), "filled": filled}


def _variable(value: tf.Tensor, name: str) -> tf.Variable:
    """One that all replicas write alike."""
    return tf.Variable(value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
