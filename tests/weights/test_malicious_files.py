"""Files of others that carry code: weights are read from them, and nothing in them is run."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf

import tf_simclr
from tests.networks import TINY_RUN, write_run
from tests.weights.foreign_files import Spec, write_tf2_saved_model
from tf_simclr.cli.main import main
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_saved_model

FLAGS = TINY_RUN | {"train_steps": 2, "train_split": "train[:32]", "eval_split": "test[:16]", "eval_batch_size": 16}


class OnLoad(tf.saved_model.experimental.TrackableResource):
    """Something that a SavedModel makes as soon as it is loaded."""

    def __init__(self, trace):
        super().__init__()
        self.trace = trace

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
        tf.io.write_file(self.trace, "a graph was run")


def write_trap(directory, trace):
    """A SavedModel that leaves a file when it is loaded, and others when it is called."""
    trap = tf.Module()
    trap.resource = OnLoad(str(trace))
    trap.variable = tf.Variable([1.0])

    def in_python(images):
        (trace.parent / "python").write_text("Python was run")
        return images

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def call(images):
        tf.io.write_file(str(trace.parent / "called"), "a graph was run")
        return {"final_avg_pool": tf.reduce_mean(tf.py_function(in_python, [images], tf.float32), [1, 2])}

    trap.call = call
    tf.saved_model.save(trap, str(directory), signatures={"serving_default": call})


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """The SavedModel, and the folder in which it would leave its traces."""
    place = tmp_path_factory.mktemp("trap")
    traces = tmp_path_factory.mktemp("traces")
    write_trap(place / "model", traces / "loaded")
    for path in traces.iterdir():
        path.unlink()
    return place / "model", traces


def test_the_trap_works(trap):
    model, traces = trap
    loaded = tf.saved_model.load(str(model))
    assert [path.name for path in traces.iterdir()] == ["loaded"]
    loaded.call(tf.zeros([1, 4, 4, 3]))
    assert {path.name for path in traces.iterdir()} == {"loaded", "called", "python"}
    for path in traces.iterdir():
        path.unlink()


def exported(directory):
    """An export of a run of ours."""
    directory.mkdir()
    run = write_run(directory / "run", FLAGS, 7)
    trained = load_trained(str(run))
    config = json.loads((directory / "run" / "flags.json").read_text())
    card = ModelCard(
        image_size=16, step=7, dataset="shapes", class_names=trained.class_names, config=config, metrics={}
    )
    export_saved_model(trained.model, str(directory / "export"), card)
    return directory / "export"


def of_the_authors(directory):
    """A SavedModel of the authors'."""
    write_tf2_saved_model(directory, Spec(18, width=4))
    return directory


@pytest.mark.parametrize("made", [exported, of_the_authors])
def test_values_are_read_and_no_graph_is_run(made, trap, tmp_path, capsys):
    model, traces = trap
    place = made(tmp_path / "one")
    want = tf_simclr.load_encoder(str(place))
    shutil.copy(model / "saved_model.pb", place / "saved_model.pb")
    (place / "fingerprint.pb").unlink(missing_ok=True)
    got = tf_simclr.load_encoder(str(place))
    tf_simclr.load(str(place))
    assert all(np.array_equal(a, b) for a, b in zip(want.get_weights(), got.get_weights(), strict=True))
    tasks = {
        "convert": [f"--output={tmp_path / 'converted'}", *(["--to=keras"] if made is exported else [])],
        "evaluate": ["--dataset=shapes", "--train_split=train[:32]", "--eval_split=test[:16]", "--eval_batch_size=16"],
    }
    tasks["evaluate"] += ["--image_size=16", "--protocols=knn", f"--model_dir={tmp_path / 'report'}"]
    for task, flags in tasks.items():
        assert main([task, f"--checkpoint={place}", *flags]) == 0, capsys.readouterr().err
    assert list(traces.iterdir()) == []


def test_a_model_of_unknown_names_is_refused_unrun(trap, tmp_path, capsys):
    model, traces = trap
    for task in ("evaluate", "convert"):
        flags = [f"--checkpoint={model}", "--dataset=shapes"] if task == "evaluate" else [f"--checkpoint={model}"]
        more = [f"--output={tmp_path / 'out'}"] if task == "convert" else [f"--model_dir={tmp_path / 'out'}"]
        assert main([task, *flags, *more]) == 2
        assert "Traceback" not in capsys.readouterr().err
    for load in (tf_simclr.load, tf_simclr.load_encoder):
        with pytest.raises(InputError):
            load(str(model))
    assert list(traces.iterdir()) == [] and not (tmp_path / "out").exists()


def test_a_keras_file_with_python_in_it_is_refused(tmp_path):
    trace = tmp_path / "trace"
    inputs = tf.keras.Input((4, 4, 3))
    body = f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"
    outputs = tf.keras.layers.Lambda(eval(body))(inputs)
    tf.keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    trace.unlink(missing_ok=True)
    with pytest.raises(InputError, match="can read"):
        tf_simclr.load_encoder(str(tmp_path / "model.keras"))
    # Keras reads other formats under the same name, in which it trusts Python code.
    tf.keras.Model(inputs, outputs).save(tmp_path / "model.h5")
    trace.unlink(missing_ok=True)
    os.rename(tmp_path / "model.h5", tmp_path / "other.keras")
    assert not zipfile.is_zipfile(tmp_path / "other.keras")
    with pytest.raises(InputError):
        tf_simclr.load_encoder(str(tmp_path / "other.keras"))
    assert not trace.exists()
