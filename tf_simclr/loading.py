"""Trained models from wherever they were left."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.layers import ProjectionHead, SimCLRAugmentation
from tf_simclr.losses.objects import loss_of
from tf_simclr.simclr import SimCLR
from tf_simclr.train import checkpoints

KERAS_SUFFIX = ".keras"


def load(path: str) -> SimCLR:
    """Loads a model that `run.py` or `SimCLR.save` left, or the weights of another program.

    Args:
        path: directory of a run, whose newest checkpoint is taken; prefix of a checkpoint, as "RUN/ckpt-1000"; an
            exported SavedModel, as "RUN/saved_model/1000"; a .keras file of `SimCLR.save`; a checkpoint or SavedModel
            of the authors; or a .safetensors, .pth, .pt or .ckpt file of PyTorch. What such a file does not say is
            assumed, with a warning that says what; `python -m tf_simclr convert` can be given it.

    Returns:
        the model with its weights in float32. Of a run it has the loss and, after pretraining, the augmentation of the
        flags (None where `--augmentation` names operators), and the linear head as its probe. Of a .keras file it is
        compiled, and goes on training where it was saved.

    Raises:
        InputError: there is no model, or a damaged one.
        DivergedError: a model with weights that are not finite.

    Example:
        import numpy as np
        import tf_simclr

        model = tf_simclr.SimCLR(tf_simclr.resnet(18, width=0.0625, stem="cifar"), probe_classes=3)
        model.save("model.keras")
        loaded = tf_simclr.load("model.keras")
        images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
        assert np.allclose(loaded(images)["logits_sup"], model(images)["logits_sup"])
    """
    path = os.path.expanduser(path)
    if path.endswith(KERAS_SUFFIX):
        model = _keras_model(path)
        if not isinstance(model, SimCLR):
            raise InputError(
                f"`path` must be a .keras file of SimCLR.save. Received: {path}, which holds a {type(model).__name__}. "
                "Take tf_simclr.load_encoder for an encoder alone"
            )
        return model
    trained = load_trained(path)
    _warn_of_assumptions(trained.prefix)
    networks, config = trained.model, trained.config
    head = networks.supervised_head
    model = SimCLR(
        networks.encoder,
        ProjectionHead(
            config.model.proj_out_dim,
            config.model.num_proj_layers,
            config.model.proj_head_mode,
            config.model.batch_norm_decay,
            config.model.global_bn,
            config.model.proj_head_offset,
        ),
        loss=loss_of(config.loss),
        augmentation=_augmentation_of(config),
        probe_classes=0 if head is None else int(head.output.shape[-1]),
        probe_input=networks.supervised_input,
        class_names=trained.class_names,
    )
    _copy(networks.named_variables(), model.parts.named_variables())
    _read_probe_state(trained.prefix, model)
    return model


def load_encoder(path: str) -> tf.keras.Model:
    """Loads the encoder of a model: images float32 [b, h, w, 3] in [0, 1] -> a dict with final_avg_pool, h [b, d].

    Args:
        path: as in `load`, or the encoder.keras of an export.

    Returns:
        a functional Keras model.

    Raises:
        InputError: as `load`.

    Example:
        import numpy as np
        import tf_simclr

        tf_simclr.SimCLR(tf_simclr.resnet(18, width=0.0625, stem="cifar")).save("model.keras")
        encoder = tf_simclr.load_encoder("model.keras")
        encoder.trainable = False
        h = encoder(np.zeros([2, 16, 16, 3], np.float32))["final_avg_pool"]
    """
    path = os.path.expanduser(path)
    if not path.endswith(KERAS_SUFFIX):
        trained = load_trained(path)
        _warn_of_assumptions(trained.prefix)
        return trained.model.encoder
    model = _keras_model(path)
    return model.encoder if isinstance(model, SimCLR) else model


def _keras_model(path: str) -> Any:
    if not os.path.isfile(path):
        raise InputError(f"`path` must be a .keras file. Received: {path}, which does not exist. Check the path")
    if not zipfile.is_zipfile(path):
        # Keras 2 would take it for one of its older formats, and run the Python code that these may hold.
        raise _unreadable(path, "it is no zip file")
    try:
        return tf.keras.models.load_model(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, " ".join(str(error).split())[:200]) from error


def _unreadable(path: str, reason: str) -> InputError:
    return InputError(
        f"`path` must be a .keras file that this version of Keras can read. Received: {path}: {reason}. Save it again "
        "with the Keras that wrote it, or load the run's checkpoint"
    )


def _warn_of_assumptions(prefix: str) -> None:
    """Warns of what was assumed of weights of another program, or left out of them."""
    foreign = checkpoints.foreign_at(prefix)
    for line in [] if foreign is None else foreign.describe()[1:]:
        warnings.warn(line, stacklevel=3)


def _augmentation_of(config: ExperimentConfig) -> SimCLRAugmentation | None:
    """The views of a pretraining run; operators by name are not what the layer makes."""
    augmentation = config.augmentation
    if config.train.train_mode != "pretrain" or augmentation.operators or not config.data.dataset:
        return None
    return SimCLRAugmentation(
        config.data.image_size,
        augmentation.color_jitter_strength,
        augmentation.use_blur,
        augmentation.min_crop_area,
        seed=config.runtime.seed,
        impl=augmentation.color_jitter_impl,
    )


def _read_probe_state(prefix: str, model: SimCLR) -> None:
    """What the run's online head knew of h, without which more training of the probe would begin with a jump."""
    if model.probe_state is None:
        return
    state = model.probe_state.named()
    if state.keys() <= checkpoints.shapes_in(prefix).keys():
        checkpoints.read_into(prefix, state)


def _copy(values: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    for path, target in targets.items():
        if target is not values[path]:
            compat.raw_variable(target).assign(compat.raw_variable(values[path]))
