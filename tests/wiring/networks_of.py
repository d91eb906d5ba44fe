"""Rows of the networks and of the views: what was built."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tests.networks import small_networks, small_networks_everywhere
from tests.wiring.given import CLASSES, STEM, layers_of
from tests.wiring.images import as_numbers
from tf_simclr import compat
from tf_simclr.cli.teacher import open_teacher
from tf_simclr.config import build_config
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import layer_group
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.checkpoints import read_values, resolve


def operators_of(run):
    return [type(operator).__name__ for operator in run.policy.operators]


def operator(name):
    return lambda run: next(op for op in run.policy.operators if type(op).__name__ == name)


def layer_words(run):
    """The parts of the names of the encoder's layers."""
    return {word.rstrip("0123456789") for layer in run.networks.encoder.layers for word in layer.name.split("_")}


def dense_layers(model):
    return [layer.name for layer in model.layers if isinstance(layer, tf.keras.layers.Dense)]


def norms(run):
    model = run.networks
    return {
        (layer.momentum, layer.global_moments)
        for layer in layers_of(model.encoder, model.projection_head)
        if isinstance(layer, BatchNorm)
    }


def normalized(run):
    """What becomes of the values 1, 0 and 0.5 of the three channels before the first convolution."""
    layers = {layer.name: layer for layer in run.networks.encoder.layers}
    image = tf.constant([[[[1.0, 0.0, 0.5]]]])
    normalization = layers.get("input_normalization")
    return as_numbers((image if normalization is None else normalization(image))[0, 0, 0])


def pads_before_pool(run):
    return "stem_pool_pad" in {layer.name for layer in run.networks.encoder.layers}


def offsets_of_head(run):
    """The batch norms of the projection head that have an offset."""
    return [layer.name for layer in run.networks.projection_head.layers if getattr(layer, "beta", None) is not None]


def convolutions(run):
    return sum("conv" in layer.name and hasattr(layer, "kernel") for layer in run.networks.encoder.layers)


def outputs(part, name):
    return lambda run: getattr(run.networks, part).output[name].shape[-1]


def frozen_groups(run):
    names = [layer.name for layer in run.networks.encoder.layers if layer.weights and not layer.trainable]
    return {layer_group(name) for name in names}


def input_of_head(run):
    trained = {path for path, v in run.networks.named_variables().items() if path.startswith("projection_head")}
    frozen = {id(v) for v in run.networks.non_trainable_variables}
    dense = {path for path in trained if "kernel" in path and id(run.networks.named_variables()[path]) not in frozen}
    return run.networks.supervised_input, sorted(dense)


def stem_of(run):
    """The first weights of the stem."""
    return as_numbers(compat.raw_variable(type(run)(**run.values).state.model.named_variables()[STEM]))


def stem_weights(seed):
    def weights(run):
        tf.keras.utils.set_random_seed(seed)
        return as_numbers(compat.raw_variable(small_networks(run.config, CLASSES).named_variables()[STEM]))

    return weights


def write_small_checkpoint(directory, seed=11):
    """Leaves there a checkpoint of small networks with weights of another seed."""
    tf.keras.utils.set_random_seed(seed)
    config = build_config({"dataset": "shapes"})
    model = small_networks(config, CLASSES)
    CheckpointStore(str(directory), model.named_variables(), 1).save(3)
    Path(directory, "flags.json").write_text(config.to_json())


def taught(run):
    """The weights of the stem of the teacher."""
    with small_networks_everywhere():
        teacher = open_teacher(run.config, run.strategy)
    return as_numbers(compat.raw_variable(teacher.model.named_variables()[STEM]))


def in_checkpoint_of_teacher(run):
    """The same, as they were stored."""
    return as_numbers(read_values(resolve(run.config.distillation.teacher), [STEM])[STEM])
