"""SavedModels: the networks as one callable with the authors' signature, reloadable without this library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.nn.model import SimCLRModel

DIRECTORY = "saved_model"
IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="inputs")


class _Exported(tf.Module):
    """Holds what is saved; the three lists shadow what tf.Module would compute by walking its attributes.

    The networks are held only by the closure of the traced function. Tracked as an attribute they would bring Keras's
    own saving along, and under Keras 3 the reloaded object would have no trainable variables.
    """

    variables: Any = None
    trainable_variables: Any = None
    regularization_losses: Any = None


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


def export_saved_model(model: SimCLRModel, path: str) -> None:
    """Writes a SavedModel.

    Reloaded, it is called as loaded(images [batch, h, w, 3] in [0, 1], trainable) and returns the dict of endpoints:
    initial_conv, initial_max_pool, block_group1..4, final_avg_pool, proj_head_input, proj_head_output and, where there
    is a supervised head, logits_sup. trainable=True normalises by the batch and updates the moving statistics. The
    signature serving_default takes `inputs` alone.

    Args:
        model: trained networks.
        path: directory to write; a reader never sees it half-written.
    """
    with _thawed(model):
        exported = _Exported()

        @tf.function
        def call(inputs: tf.Tensor, trainable: bool = False) -> dict[str, tf.Tensor]:
            return model.endpoints(inputs, training=trainable)

        for trainable in (False, True):
            call.get_concrete_function(IMAGES, trainable=trainable)

        @tf.function(input_signature=[IMAGES])
        def serving_default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return call(inputs, trainable=False)

        exported.__call__ = call
        exported.variables = [compat.raw_variable(v) for v in model.named_variables().values()]
        exported.trainable_variables = [compat.raw_variable(v) for v in model.trainable_variables]
        exported.regularization_losses = []
        partial = f"{path}.partial"
        if tf.io.gfile.exists(partial):
            tf.io.gfile.rmtree(partial)
        tf.saved_model.save(exported, partial, signatures={"serving_default": serving_default})
    if tf.io.gfile.exists(path):
        tf.io.gfile.rmtree(path)
    tf.io.gfile.rename(partial, path)


def export_step(model: SimCLRModel, model_dir: str, step: int, keep_max: int) -> str:
    """Writes model_dir/saved_model/<step>, keeps the newest `keep_max`, and returns the path."""
    root = os.path.join(model_dir, DIRECTORY)
    path = os.path.join(root, str(step))
    tf.io.gfile.makedirs(root)
    export_saved_model(model, path)
    steps = sorted(int(name.strip("/")) for name in tf.io.gfile.listdir(root) if name.strip("/").isdigit())
    for old in steps[:-keep_max]:
        tf.io.gfile.rmtree(os.path.join(root, str(old)))
    return path
