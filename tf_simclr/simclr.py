"""SimCLR as a Keras model, made of the parts that `run.py` trains with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import ExperimentConfig, OptimizerConfig
from tf_simclr.errors import InputError, require_range
from tf_simclr.layers import ProjectionHead, SimCLRAugmentation
from tf_simclr.losses.loss_object import ContrastiveLoss
from tf_simclr.losses.objects import NTXent
from tf_simclr.nn import heads
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.ops import collectives
from tf_simclr.ops.image import to_rgb
from tf_simclr.optim.decay import kernels
from tf_simclr.optimizers import KernelsOnly
from tf_simclr.simclr_batches import Means, read_batch
from tf_simclr.simclr_checks import (
    built_for,
    require_augmentation,
    require_can_augment,
    require_loss,
    require_trainable_probe,
    with_endpoints,
)
from tf_simclr.simclr_probe import plain_of, probe_trainer
from tf_simclr.train.online_head import HeadState
from tf_simclr.train.precision import Updater
from tf_simclr.train.step import Metrics, build_pretrain_step, contrastive_terms, supervised_terms

# What evaluation draws its views for: no epoch of training is counted so far.
_EVALUATION_EPOCH = (1 << 20) - 1


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class SimCLR(tf.keras.Model):
    """SimCLR: an encoder and a projection head that learn from pairs of views, and a linear probe beside them.

    `fit`, `evaluate` and `predict` take, in batches of a `tf.data.Dataset` or as arrays: images [n, h, w, 3], with
    integers in their dtype's range or floats in [0, 1]; (images, labels); pairs of views that are already made,
    (view_a, view_b) or ((view_a, view_b), labels), with float views [n, s, s, 3], or as a dict, as
    `tf_simclr.image_dataset` makes it: {"views": (view_a, view_b), "label": labels, "plain": images}. Images need an
    `augmentation`. Labels are int [n], -1 for an image without one. They reach the probe only, whose gradient is never
    passed on to the encoder, unless the loss learns from them, as `losses.SupCon` does.

    The probe is trained as the online head of `run.py`: on standardised features, by preconditioned SGD, at a rate of
    its own that does not depend on the optimizer's. Where the optimizer has a `WarmupCosine`, the probe's rate takes
    the lengths of warm-up and training from it. Otherwise it is constant. The probe learns from images as evaluation
    sees them, 128 of a batch, or a quarter where that is more: from "plain", or from the images that are augmented.
    Where the data are pairs of views alone, it learns from both views. That costs it several points of accuracy.

    `fit` logs loss, contrast_loss, contrast_acc, contrast_entropy and weight_decay, and with a probe supervised_loss
    and supervised_acc: the curves of `run.py`. `evaluate` logs the same but the weight decay. It draws the same
    views whenever it is called, and measures the probe on the images as they are. `predict` returns the endpoints that
    are vectors, a call all of them.

    On several replicas, under the strategy's scope, the loss, its gradient and the batch-norm moments are those of the
    global batch. `save` writes everything, the state of the optimizer and of the probe's included; `tf_simclr.load`
    reads it.

    Args:
        encoder: `tf_simclr.resnet(...)`, or another functional Keras model, images [n, h, w, 3] -> h [n, d].
        head: the projection head; None for `ProjectionHead()`.
        loss: a contrastive loss object; None for `NTXent()`.
        augmentation: makes two views of an image; None where the data are pairs of views.
        probe_classes: classes of a linear classifier on h that is trained beside the encoder; 0 for none.
        probe_input: what the probe reads: 0 for h, i for the i-th layer of the head, -1 for its output.
        class_names: of the probe, in the order of its logits; for whoever reads them.
        name: of the model.

    Raises:
        InputError: a part that is not of its kind, or a number out of its range.

    Example:
        import numpy as np
        import tf_simclr

        images = np.random.default_rng(0).integers(0, 256, (16, 24, 24, 3), dtype=np.uint8)
        labels = np.arange(16) % 2
        model = tf_simclr.SimCLR(
            tf_simclr.resnet(18, width=0.0625, stem="cifar"),
            tf_simclr.layers.ProjectionHead(out_dim=16, num_layers=2),
            loss=tf_simclr.losses.NTXent(temperature=0.2),
            augmentation=tf_simclr.layers.SimCLRAugmentation(16, blur=False),
            probe_classes=2,
        )
        model.compile(optimizer=tf_simclr.optimizers.LARS(0.1))
        history = model.fit(images, labels, batch_size=8, epochs=1, verbose=0)
        assert "contrast_loss" in history.history
        h = model.predict(images / np.float32(255), verbose=0)["final_avg_pool"]
        model.save("simclr.keras")

    Reference: SimCLR, Algorithm 1 and Appendix B.6.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        head: ProjectionHead | None = None,
        loss: ContrastiveLoss | None = None,
        augmentation: SimCLRAugmentation | None = None,
        probe_classes: int = 0,
        probe_input: int = 0,
        class_names: Sequence[str] = (),
        name: str = "simclr",
    ):
        # The layers have policies of their own; Keras would scale the loss once more under a policy of the model's.
        super().__init__(name=name, dtype="float32")
        require_range("probe_classes", probe_classes, at_least=0)
        self.encoder = with_endpoints(encoder)
        width = self.encoder.output["final_avg_pool"].shape[-1]
        self.head = built_for(ProjectionHead() if head is None else head, width)
        self.contrastive_loss = require_loss(NTXent() if loss is None else loss)
        self.augmentation = require_augmentation(augmentation)
        count = heads.projection_layers(self.head.mode, self.head.num_layers)
        endpoint = heads.endpoint_of_layer(heads.selected_layer(probe_input, count), count)
        self.probe: tf.keras.Model | None = None
        self.probe_state: HeadState | None = None
        if probe_classes:
            self.probe = heads.build_supervised_head(self.head.network.output[endpoint].shape[-1], probe_classes)
            self.probe_state = HeadState(self.probe)
        self.probe_classes, self.probe_input = probe_classes, probe_input
        self.class_names = tuple(class_names)
        self.parts = SimCLRModel(self.encoder, self.head.network, self.probe, probe_input)
        self._means = Means()
        self._penalty = 0.0
        self._compiled_by_xla = False
        self.build((None, None, None, 3))

    def build(self, input_shape: Any) -> None:
        """Nothing: all parts are built when the model is made."""
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The endpoints of images, float32: those of the encoder, of the projection head, and logits_sup of the probe.

        Args:
            inputs: [n, h, w, 3], floats in [0, 1] or integers in their dtype's range.
            training: whether batch norms use, and update, the statistics of the batch.
        """
        return self.parts.endpoints(to_rgb(tf.convert_to_tensor(inputs)), training=training)

    def compile(
        self,
        optimizer: Any = "adam",
        loss: ContrastiveLoss | None = None,
        weight_decay: float | None = None,
        jit_compile: bool = False,
        **options: Any,
    ) -> None:
        """Prepares training.

        Args:
            optimizer: of encoder and head, a Keras optimizer or its name. `optimizers.LARS` and `optimizers.LAMB` decay
                their kernels. The probe is trained by itself, with the same weight decay. One that has made no step
                begins a new training of the probe as well.
            loss: a contrastive loss object in place of the constructor's.
            weight_decay: for optimizers without a decay of their own: of the kernels of encoder and head, through the
                loss, and of the probe's. Default 0.
            jit_compile: compile the step with XLA; on one device only, and with data that are pairs of views.
            **options: run_eagerly and steps_per_execution, as in Keras.

        Raises:
            InputError: a loss that is no contrastive loss object, or two weight decays.
        """
        if loss is not None:
            self.contrastive_loss = require_loss(loss)
        optimizer = tf.keras.optimizers.get(optimizer)
        own_decay = isinstance(optimizer, KernelsOnly)
        if own_decay and weight_decay is not None:
            raise InputError(
                f"`weight_decay` must be None with {type(optimizer).__name__}, which has one. Received: "
                f"weight_decay={weight_decay}. Pass it to the optimizer"
            )
        self._compiled_by_xla = bool(jit_compile)
        self._penalty = optimizer.decay if own_decay else weight_decay or 0.0
        require_range("weight_decay", self._penalty, at_least=0)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **compat.unscaled_loss(), **options)
        with self.distribute_strategy.scope():
            self._build_step()

    def _build_step(self) -> None:
        """Slots and the step on a replica, by the parts of run.py."""
        # The probe's variables are trained, and decayed, by the probe's trainer alone.
        without_probe = SimCLRModel(self.encoder, self.head.network)
        trained = list(without_probe.trainable_variables)
        own_decay = isinstance(self.optimizer, KernelsOnly)
        penalized = [] if own_decay else kernels(without_probe.variable_layers().values())
        compat.build_slots(self.optimizer, trained)
        half = any(layer.compute_dtype == "float16" for layer in self.encoder.layers)
        self._updater = Updater(self.optimizer, trained, dynamic_scale=half)
        config = ExperimentConfig(optimizer=OptimizerConfig(weight_decay=self._penalty))
        online = None
        if self.probe is not None and self.probe_state is not None:
            online = probe_trainer(self.probe, self.probe_state, self.optimizer, self._penalty)
        loss = self.contrastive_loss.labelled_statistics
        self._step = build_pretrain_step(self.parts, self._updater, config, penalized, contrast=loss, online=online)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's hook: one update of all weights."""
        batch = read_batch(data)
        require_trainable_probe(self.probe_classes, self.probe_input, labels=batch.labels)
        views = batch.views if batch.views is not None else self._augmented(batch.images)
        plain = plain_of(batch, self.augmentation) if self.probe is not None else {}
        return self._means.update(self._step({"views": views, "label": batch.labels, **plain}))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's hook: the loss of a batch, and the probe's."""
        batch = read_batch(data)
        metrics: Metrics = {}
        views = batch.views
        if views is None and self.augmentation is not None:
            count = tf.shape(batch.images)[0]
            index = tf.range(count) + count * collectives.replica_id()
            views = self._augmented(batch.images, index=index, epoch=_EVALUATION_EPOCH)
        if views is not None:
            endpoints = self(tf.concat(views, axis=0), training=False)
            z, loss = endpoints["proj_head_output"], self.contrastive_loss.labelled_statistics
            metrics |= contrastive_terms(z, ExperimentConfig(), loss, batch.labels)
            metrics["train/total_loss"] = metrics["train/contrast_loss"]
        if self.probe is not None and batch.labels is not None:
            labels = batch.labels
            images = batch.images if batch.images is not None else batch.plain
            if images is not None:
                endpoints = self(images, training=False)
            else:
                labels = tf.concat([labels] * 2, axis=0)
            metrics |= supervised_terms(endpoints["logits_sup"], labels)
        if not metrics:
            raise InputError(
                "`evaluate` needs pairs of views, an augmentation, or labels and a probe. Received: images alone. Pass "
                "augmentation=tf_simclr.layers.SimCLRAugmentation(size) to SimCLR"
            )
        return self._means.update(metrics)

    def predict_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's hook: the endpoints that are vectors. Feature maps of a whole data set would fill the memory."""
        images = read_batch(data).images
        if images is None:
            raise InputError("`predict` takes images. Received: pairs of views. Pass one view, or the images")
        return {name: value for name, value in self(images, training=False).items() if value.shape.rank == 2}

    @property
    def metrics(self) -> list[Any]:
        """What Keras resets at the beginning of an epoch."""
        return list(self._means.by_name.values())

    def _augmented(self, images: tf.Tensor, **which: Any) -> tuple[tf.Tensor, ...]:
        augment = require_can_augment(self.augmentation, compiled_by_xla=self._compiled_by_xla)
        return augment(images, **which)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialised."""
        parts = {"encoder": self.encoder, "head": self.head, "loss": self.contrastive_loss}
        if self.augmentation is not None:
            parts["augmentation"] = self.augmentation
        return {
            **{name: compat.saving.serialize_keras_object(part) for name, part in parts.items()},
            "probe_classes": self.probe_classes,
            "probe_input": self.probe_input,
            "class_names": list(self.class_names),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SimCLR:
        """The model of a config made by `get_config`, newly initialised."""
        values = {
            name: compat.saving.deserialize_keras_object(value, custom_objects=custom_objects)
            if isinstance(value, dict)
            else value
            for name, value in config.items()
        }
        return cls(**values)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was called with, serialised; empty before it was called."""
        if getattr(self, "optimizer", None) is None:
            return {}
        own_decay = isinstance(self.optimizer, KernelsOnly)
        return {
            "optimizer": tf.keras.optimizers.serialize(self.optimizer),
            "weight_decay": None if own_decay else self._penalty,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        if not config:
            return
        self.compile(tf.keras.optimizers.deserialize(config["optimizer"]), weight_decay=config["weight_decay"])
