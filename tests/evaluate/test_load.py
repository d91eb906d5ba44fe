"""Networks come back from a run, from a checkpoint and from an export, whatever the run computed in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import TINY_RUN
from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained, read_config
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_saved_model
from tf_simclr.train.build import build_networks
from tf_simclr.train.checkpoint_store import CheckpointStore

FLAGS = TINY_RUN | {"precision": "bfloat16"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Directory and networks of a run that was stopped at step 3."""
    directory = tmp_path_factory.mktemp("run")
    config = build_config(FLAGS)
    model = build_networks(config, num_classes=4)
    generator = tf.random.Generator.from_seed(2)
    for variable in model.named_variables().values():
        raw = compat.raw_variable(variable)
        raw.assign(raw + generator.uniform(raw.shape, 0.0, 0.1))
    CheckpointStore(str(directory), model.named_variables(), 2).save(3)
    # As a later version would find it: with a flag that it does not know any more.
    (directory / "flags.json").write_text(json.dumps(config.to_flags() | {"a_flag_of_old": 1}))
    export = str(directory / "saved_model" / "3")
    export_saved_model(model, export, ModelCard(16, step=3, config=config.to_flags()))
    return directory, model


@pytest.mark.parametrize("where", ["", "ckpt-3", "saved_model/3"])
def test_the_values_are_those_of_the_run(run, where):
    directory, model = run
    trained = load_trained(str(directory / where))
    assert trained.config.model.width_multiplier == 0.0625
    named = trained.model.named_variables()
    assert list(named) == list(model.named_variables())
    for path, variable in model.named_variables().items():
        np.testing.assert_array_equal(compat.raw_variable(named[path]), compat.raw_variable(variable), err_msg=path)


def test_features_are_float32_and_near_those_of_the_run(run):
    directory, model = run
    images = tf.random.stateless_uniform([3, 16, 16, 3], [0, 1])
    trained = load_trained(str(directory)).model
    assert {layer.compute_dtype for layer in trained.encoder.layers} == {"float32"}
    ours, theirs = (m.endpoints(images, training=False)["final_avg_pool"] for m in (trained, model))
    np.testing.assert_allclose(ours, theirs, rtol=0.1, atol=0.05)
    assert np.abs(ours - theirs).max() > 0  # bfloat16 rounds


def test_without_values_it_is_the_untrained_network_of_the_same_shape(run):
    directory, model = run
    untrained = load_trained(str(directory), values=False).model.named_variables()
    assert {k: v.shape for k, v in untrained.items()} == {k: v.shape for k, v in model.named_variables().items()}
    gamma = compat.raw_variable(untrained["encoder/stem_norm/gamma"])
    np.testing.assert_array_equal(gamma, tf.ones_like(gamma))


def test_the_config_alone_needs_no_network(run):
    config, prefix = read_config(str(run[0]))
    assert config.data.image_size == 16 and prefix.endswith("ckpt-3")


def test_a_checkpoint_that_does_not_say_how_it_was_built_is_an_error(run, tmp_path):
    CheckpointStore(str(tmp_path), run[1].named_variables(), 1).save(1)
    with pytest.raises(InputError, match=r"flags\.json"):
        load_trained(str(tmp_path))


def test_an_export_without_flags_is_an_error(run, tmp_path):
    export_saved_model(run[1], str(tmp_path / "1"), ModelCard(16))
    with pytest.raises(InputError, match="records its flags"):
        load_trained(str(tmp_path / "1"))


def test_flags_of_another_network_name_what_does_not_fit(run, tmp_path):
    CheckpointStore(str(tmp_path), run[1].named_variables(), 1).save(1)
    (tmp_path / "flags.json").write_text(json.dumps(FLAGS | {"width_multiplier": 0.125}))
    with pytest.raises(InputError, match="there and"):
        load_trained(str(tmp_path))
