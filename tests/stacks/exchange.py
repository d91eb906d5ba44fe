"""What one stack does in the test of two: train, write everything down, and read what the other one wrote.

python exchange.py write DIRECTORY     trains 20 steps, saves a checkpoint and a SavedModel, goes on for 2 more
python exchange.py read DIRECTORY OUT  reads the checkpoint and the SavedModel, goes on from the checkpoint for 2 more
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations, build_config
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_saved_model
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.train import build
from tf_simclr.train.build import TrainState
from tf_simclr.train.checkpoint_store import CheckpointStore

BATCH, SIZE, CLASSES, STEPS, MORE = 16, 8, 3, 20, 2
OPTIMIZERS = ("lars", "lamb")
CONFIG = {"dataset": "shapes", "train_batch_size": BATCH, "temperature": 0.5, "weight_decay": 1e-3}
# Gentle: beyond, rounding grows from step to step and says nothing of the stacks.
RATES = {"lars": 0.5, "lamb": 0.1}
DURATIONS = Durations(train_steps=40, warmup_steps=5, checkpoint_steps=40, steps_per_epoch=40)
CONSTANT = {"gamma": 1.0, "moving_variance": 1.0, "beta": 0.0, "bias": 0.0, "moving_mean": 0.0}


def initialise(variables: dict[str, Any], spread: float) -> None:
    """First weights that depend on their paths alone, and not on a stack's random numbers."""
    for path, variable in variables.items():
        raw, leaf = raw_variable(variable), path.rpartition("/")[2]
        noise = np.random.default_rng(zlib.crc32(path.encode())).uniform(-1, 1, raw.shape)
        if leaf in CONSTANT:
            raw.assign(CONSTANT[leaf] + spread * noise)
        else:
            raw.assign(noise * np.sqrt(3 / np.prod(raw.shape[:-1])))


def small_trainer(optimizer: str) -> TrainState:
    config = build_config(CONFIG | {"optimizer": optimizer, "learning_rate": RATES[optimizer]})
    build.build_networks = small_networks
    state = build.build_train_state(config, DURATIONS, CLASSES)
    initialise(state.model.named_variables(), spread=0.0)
    return state


def resnet(spread: float) -> SimCLRModel:
    model = build_model(depth=10, width_multiplier=0.0625, stem="cifar", num_classes=CLASSES, proj_out_dim=16)
    initialise(model.named_variables(), spread)
    return model


def train(state: TrainState, first: int, count: int) -> None:
    """Steps on batches that depend on the step alone."""
    step_function = tf.function(state.step)
    for step in range(first, first + count):
        rng = np.random.default_rng(step)
        views = rng.uniform(size=(2, BATCH, SIZE, SIZE, 3)).astype(np.float32)
        labels = tf.constant(rng.integers(0, CLASSES, BATCH))
        step_function({"views": tuple(tf.constant(v) for v in views), "label": labels})


def values_of(state: TrainState) -> dict[str, np.ndarray]:
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(99).uniform(size=(5, SIZE, SIZE, 3)), tf.float32)


def as_arrays(endpoints: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in endpoints.items()}


def write(directory: Path) -> None:
    for optimizer in OPTIMIZERS:
        state = small_trainer(optimizer)
        train(state, 0, STEPS)
        np.savez(directory / f"{optimizer}_after.npz", **values_of(state))
        CheckpointStore(str(directory / optimizer), state.named_state(), 1).save(STEPS)
        train(state, STEPS, MORE)
        np.savez(directory / f"{optimizer}_later.npz", **values_of(state))
    model = resnet(spread=0.2)
    np.savez(directory / "endpoints.npz", **as_arrays(model.endpoints(images(), training=False)))
    CheckpointStore(str(directory / "resnet"), model.named_variables(), 1).save(STEPS)
    export_saved_model(model, str(directory / "export"), ModelCard(SIZE))


def read(directory: Path, out: Path) -> None:
    for optimizer in OPTIMIZERS:
        state = small_trainer(optimizer)
        store = CheckpointStore(str(directory / optimizer), state.named_state(), 1)
        assert store.restore_latest(sys.exit) == STEPS
        train(state, STEPS, MORE)
        np.savez(out / f"{optimizer}_later.npz", **values_of(state))
    model = resnet(spread=0.0)
    CheckpointStore(str(directory / "resnet"), model.named_variables(), 1).restore_latest(sys.exit)
    np.savez(out / "restored.npz", **as_arrays(model.endpoints(images(), training=False)))
    loaded = tf.saved_model.load(str(directory / "export"))
    np.savez(out / "loaded.npz", **as_arrays(loaded(images(), trainable=False)))
    vector = tf.saved_model.load(str(directory / "export" / "feature_vector"))
    np.savez(out / "vector.npz", final_avg_pool=vector(images()).numpy())
    np.savez(out / "trained.npz", **as_arrays(loaded(images(), trainable=True)))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*(Path(name) for name in sys.argv[2:]))
