"""SavedModels: the networks as callables with the authors' and TF Hub's signatures, reloadable without this library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.data.decoding import decode_image
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.files import remove_tree
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.stock_encoder import write_stock_encoder
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.finite import require_finite_network

DIRECTORY = "saved_model"
FEATURE_VECTOR = "feature_vector"
IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="inputs")
ENCODED = tf.TensorSpec([None], tf.string, name="encoded")


class _Exported(tf.Module):
    """Holds what is saved; the lists shadow what tf.Module would compute by walking its attributes.

    The networks are held only by the closures of the traced functions. Tracked as an attribute they would bring Keras's
    own saving along, and under Keras 3 the reloaded object would have no trainable variables.
    """

    variables: Any = None
    trainable_variables: Any = None
    regularization_losses: Any = None
    named_variables: Any = None

    def hold(self, named: dict[str, Any], trainable: list[Any]) -> None:
        """Makes these the module's variables, in the order of `named`."""
        # The dictionary comes first in the alphabet, so the files store every value under its path: a SavedModel can
        # be read like a checkpoint.
        self.named_variables = {path: compat.raw_variable(v) for path, v in named.items()}
        self.variables = list(self.named_variables.values())
        self.trainable_variables = [compat.raw_variable(v) for v in trainable]
        # Fine-tuning uses no weight decay (SimCLR, Appendix B.5); whoever wants some adds it.
        self.regularization_losses = []


@contextlib.contextmanager
def _thawed(model: SimCLRModel) -> Iterator[None]:
    """Unfreezes every layer meanwhile: who fine-tunes an export decides afresh what is frozen."""
    before = [(layer, layer.trainable) for layer in model.variable_layers().values()]
    for layer, _ in before:
        layer.trainable = True
    try:
        yield
    finally:
        for layer, trainable in before:
            layer.trainable = trainable


def _save_endpoints(model: SimCLRModel, path: str, card: ModelCard) -> None:
    """Writes the SavedModel with the authors' signature."""
    exported = _Exported()

    @tf.function(autograph=False)
    def call(inputs: tf.Tensor, trainable: bool = False) -> dict[str, tf.Tensor]:
        return model.endpoints(inputs, training=trainable)

    inference, _ = (call.get_concrete_function(IMAGES, trainable=trainable) for trainable in (False, True))

    @tf.function(input_signature=[IMAGES], autograph=False)
    def serving_default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return inference(inputs)

    def one_image(content: tf.Tensor) -> tf.Tensor:
        return evaluation_view(decode_image(content), card.image_size, card.crop_of_evaluation)

    @tf.function(input_signature=[ENCODED], autograph=False)
    def serving_bytes(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = tf.TensorSpec([card.image_size, card.image_size, 3], tf.float32)
        return inference(tf.map_fn(one_image, encoded, fn_output_signature=spec))

    exported.__call__ = call
    exported.hold(model.named_variables(), model.trainable_variables)
    tf.saved_model.save(exported, path, signatures={"serving_default": serving_default, "serving_bytes": serving_bytes})


def _save_feature_vector(model: SimCLRModel, path: str) -> None:
    """Writes the SavedModel with TF Hub's interface of image feature vectors: images, training -> h."""
    exported = _Exported()

    @tf.function(autograph=False)
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(model.encoder(inputs, training=training)["final_avg_pool"], tf.float32)

    inference, _ = (call.get_concrete_function(IMAGES, training=training) for training in (False, True))

    @tf.function(input_signature=[IMAGES], autograph=False)
    def serving_default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"default": inference(inputs)}

    exported.__call__ = call
    encoder = SimCLRModel(model.encoder)
    exported.hold(encoder.named_variables(), encoder.trainable_variables)
    tf.saved_model.save(exported, path, signatures={"serving_default": serving_default})


def export_saved_model(model: SimCLRModel, path: str, card: ModelCard) -> None:
    """Writes a directory that holds the model in every form there is a reader for.

    The directory itself is a SavedModel. Reloaded, it is called as loaded(images [batch, h, w, 3] in [0, 1], trainable)
    and returns the dict of endpoints: initial_conv, initial_max_pool, block_group1..4, final_avg_pool, proj_head_input,
    proj_head_output and, where there is a supervised head, logits_sup. trainable=True normalises by the batch and
    updates the moving statistics. Two signatures return the same dict for trainable=False: serving_default takes
    `inputs`, and serving_bytes takes `encoded`, string [batch], the bytes of jpeg, png, gif, bmp or (from TensorFlow
    2.20 on) webp files of any sizes, and makes the evaluation crop itself. It decodes as `decode_image` does: EXIF
    orientation is applied, transparency is put on white, and what TensorFlow's decoders cannot be trusted with, an
    animated webp above all, is an InvalidArgumentError. `named_variables` maps the paths of our checkpoints to
    variables.

    Beside it lie feature_vector/, a SavedModel called as loaded(images, training) -> h [batch, d] (TF Hub's interface
    of image feature vectors), encoder.keras, and simclr.json. Nothing in them augments.

    Args:
        model: trained networks.
        path: directory to write; a reader never sees it half-written.
        card: what simclr.json says; its image_size and eval_crop are those of serving_bytes.

    Raises:
        DivergedError: the networks hold a value that is not finite, or compute one from an image; nothing is written.
    """
    require_finite_network(model, image_size=card.image_size, what=f"the network at step {card.step}")
    partial = f"{path}.partial"
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    remove_tree(partial)
    try:
        with _thawed(model):
            _save_endpoints(model, partial, card)
            _save_feature_vector(model, os.path.join(partial, FEATURE_VECTOR))
        write_stock_encoder(model.encoder, partial)
        card.write(model, partial)
    except BaseException:  # a full disk, or somebody who asks to stop: the rest would only take space
        with contextlib.suppress(OSError, tf.errors.OpError):
            remove_tree(partial)
        raise
    discard_export(path)
    tf.io.gfile.rename(partial, path)


def discard_export(path: str) -> None:
    """Removes an export, if there is one, so that at no moment a half of it has its name."""
    removed = f"{path}.removed"
    remove_tree(removed)
    if tf.io.gfile.exists(path):
        tf.io.gfile.rename(path, removed)
        remove_tree(removed)


def step_directory(model_dir: str, step: int) -> str:
    """Where the export of a step of a run lies."""
    return os.path.join(model_dir, DIRECTORY, str(step))


def export_step(model: SimCLRModel, model_dir: str, card: ModelCard, keep_max: int) -> str:
    """Writes model_dir/saved_model/<step>, keeps the newest `keep_max`, and returns the path."""
    root = os.path.join(model_dir, DIRECTORY)
    path = step_directory(model_dir, card.step)
    export_saved_model(model, path, card)
    steps = sorted(int(name.strip("/")) for name in tf.io.gfile.listdir(root) if name.strip("/").isdigit())
    for old in steps[:-keep_max]:
        discard_export(os.path.join(root, str(old)))
    return path
