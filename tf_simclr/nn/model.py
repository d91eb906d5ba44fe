"""The whole SimCLR model: encoder, projection head and supervised head, callable together or one by one."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError, require_range
from tf_simclr.nn import heads
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import build_encoder, freeze_through


@dataclass(frozen=True)
class SimCLRModel:
    """Encoder f, projection head g and linear classifier, each a functional Keras model.

    Args:
        encoder: from `build_encoder`.
        projection_head: from `build_projection_head`, or None.
        supervised_head: from `build_supervised_head`, or None.
        supervised_input: what the supervised head reads, as --ft_proj_selector: 0 = h, 1.. = hidden layers of the
            projection head, -1 or the number of its layers = its output.

    Raises:
        InputError: the projection head has no such layer.
    """

    encoder: tf.keras.Model
    projection_head: tf.keras.Model | None = None
    supervised_head: tf.keras.Model | None = None
    supervised_input: int = 0

    def __post_init__(self) -> None:
        # Found out now: at the first call it would come after minutes of set-up.
        heads.selected_layer(self.supervised_input, self._projection_layers())

    def _projection_layers(self) -> int:
        if self.projection_head is None:
            return 0
        return sum(isinstance(x, tf.keras.layers.Dense) for x in self.projection_head.layers)

    def endpoints(self, images: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Runs all parts.

        No gradient is stopped between h and the logits: an online linear head calls `supervised_head` itself, on
        tf.stop_gradient(`supervised_features`).

        Args:
            images: float32 [b, h, w, 3] in [0, 1].
            training: whether batch norms use, and update, the statistics of the batch.

        Returns:
            a dict of the encoder's endpoints, and of proj_head_input, proj_head_layer1.., proj_head_output and
            logits_sup where those parts exist; float32 whatever the policy of the layers.
        """
        found = dict(self.encoder(images, training=training))
        if self.projection_head is not None:
            found.update(self.projection_head(found["final_avg_pool"], training=training))
        if self.supervised_head is not None:
            found["logits_sup"] = self.supervised_head(self.supervised_features(found), training=training)
        return {name: tf.cast(value, tf.float32) for name, value in found.items()}

    def require_projection_head(self) -> tf.keras.Model:
        """The projection head.

        Raises:
            InputError: there is none, so that nothing can be contrasted.
        """
        if self.projection_head is None:
            raise InputError("`model` must have a projection head. Received: None. Build it with build_projection_head")
        return self.projection_head

    def supervised_features(self, endpoints: dict[str, tf.Tensor]) -> tf.Tensor:
        """The endpoint [b, c] that the supervised head reads."""
        if self.projection_head is None:
            return endpoints["final_avg_pool"]
        count = self._projection_layers()
        number = heads.selected_layer(self.supervised_input, count)
        return endpoints[heads.endpoint_of_layer(number, count)]

    def _layers(self) -> Iterator[tuple[str, tf.keras.layers.Layer]]:
        for part in (self.encoder, self.projection_head, self.supervised_head):
            if part is not None:
                yield from ((part.name, layer) for layer in part.layers)

    def named_variables(self) -> dict[str, Any]:
        """All variables in a stable order, keyed alike on every Keras: "encoder/stem_conv/kernel"."""
        return {
            f"{part}/{layer.name}/{compat.leaf_name(variable)}": variable
            for part, layer in self._layers()
            for variable in layer.weights
        }

    def variable_layers(self) -> dict[str, tf.keras.layers.Layer]:
        """The layer that each variable of `named_variables` belongs to, under the same keys."""
        return {
            f"{part}/{layer.name}/{compat.leaf_name(variable)}": layer
            for part, layer in self._layers()
            for variable in layer.weights
        }

    @property
    def trainable_variables(self) -> list[Any]:
        """Variables of layers that are not frozen, in the order of `named_variables`."""
        return [v for _, layer in self._layers() for v in layer.trainable_variables]

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Moving statistics and everything frozen, in the order of `named_variables`."""
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.named_variables().values() if id(v) not in trainable]


def build_model(
    *,
    depth: int = 50,
    width_multiplier: float = 1,
    sk_ratio: float = 0.0,
    se_ratio: float = 0.0,
    stem: str = "imagenet",
    pool_padding: str = "same",
    identity_shortcut: bool = False,
    input_mean: Sequence[float] = (),
    input_std: Sequence[float] = (),
    proj_head_mode: str = "nonlinear",
    proj_out_dim: int = 128,
    num_proj_layers: int = 3,
    proj_head_offset: bool = False,
    num_classes: int = 0,
    finetune: bool = False,
    ft_proj_selector: int = 0,
    fine_tune_after_block: int = -1,
    zero_init_logits_layer: bool = False,
    global_bn: bool = True,
    batch_norm_decay: float = 0.9,
    dtype: Any = "float32",
) -> SimCLRModel:
    """Builds the model for pretraining or for fine-tuning.

    Both have the same variables under the same names, so one's checkpoint fits the other. When fine-tuning, projection
    layers that the classifier does not read exist but are frozen; with fine_tune_after_block=4, "only the linear
    head", all of them are.

    Args:
        depth: of the ResNet, with width_multiplier, sk_ratio, se_ratio and stem as in `build_encoder`.
        width_multiplier: multiplies all filter counts.
        sk_ratio: > 0 turns on selective kernels.
        se_ratio: > 0 turns on squeeze-and-excitation.
        stem: "imagenet" or "cifar".
        pool_padding: of the stem's max pool, with identity_shortcut, input_mean and input_std as in `build_encoder`.
        identity_shortcut: whether group 1 of depths 10, 18 and 34 begins without a projection.
        input_mean: of the channels; empty for images as they are.
        input_std: of the channels.
        proj_head_mode: "none", "linear" or "nonlinear", with proj_out_dim and num_proj_layers as in
            `build_projection_head`.
        proj_out_dim: width of z.
        num_proj_layers: layers of a nonlinear head.
        proj_head_offset: whether the head's last norm has an offset.
        num_classes: of the supervised head; 0 = there is none.
        finetune: whether the supervised head is trained with the encoder, and not beside pretraining.
        ft_proj_selector: what the supervised head reads: 0 = h, k = layer k of the projection head, -1 = its output.
        fine_tune_after_block: -1 trains everything, 0 freezes the stem, k the stem and groups 1..k. Only with finetune.
        zero_init_logits_layer: whether the supervised head's kernel starts at 0.
        global_bn: whether moments are taken over all replicas.
        batch_norm_decay: momentum of the moving statistics.
        dtype: Keras dtype policy or its name.

    Returns:
        the model, with `trainable` set on its layers.

    Raises:
        InputError: an argument is out of its range, or pretraining is asked to freeze blocks.
    """
    require_range("num_classes", num_classes, at_least=0)
    count = heads.projection_layers(proj_head_mode, num_proj_layers)
    used = heads.selected_layer(ft_proj_selector, count)
    if fine_tune_after_block != -1 and not finetune:
        raise InputError(
            "`fine_tune_after_block` must be -1 when pretraining, which trains the whole encoder. "
            f"Received: fine_tune_after_block={fine_tune_after_block}"
        )
    norm = functools.partial(BatchNorm, momentum=batch_norm_decay, global_moments=global_bn)
    encoder = build_encoder(
        depth,
        width_multiplier,
        sk_ratio,
        se_ratio,
        stem,
        norm,
        dtype,
        pool_padding=pool_padding,
        identity_shortcut=identity_shortcut,
        input_mean=input_mean,
        input_std=input_std,
    )
    freeze_through(encoder, fine_tune_after_block)
    width = encoder.output["final_avg_pool"].shape[-1]
    projection = heads.build_projection_head(
        proj_head_mode, width, proj_out_dim, num_proj_layers, norm, dtype, proj_head_offset
    )
    if finetune:
        heads.freeze_beyond(projection, 0 if fine_tune_after_block == 4 else used)
    supervised = None
    if num_classes:
        name = heads.endpoint_of_layer(used, count)
        supervised = heads.build_supervised_head(projection.output[name].shape[-1], num_classes, zero_init_logits_layer)
    return SimCLRModel(encoder, projection, supervised, ft_proj_selector)
