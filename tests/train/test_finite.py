"""A network that diverged is refused by name, on one replica and on several, whoever asks for it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import DivergedError, InputError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.classifier import evaluate_classifier
from tf_simclr.evaluate.extraction import extracted
from tf_simclr.evaluate.features import cached_features
from tf_simclr.evaluate.load import load_trained
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_step
from tf_simclr.train.build import TrainState, build_networks
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.finite import require_finite_network, require_finite_values
from tf_simclr.train.pretrained import load_pretrained

SIDE = 16
FLAGS = {
    "dataset": "shapes",
    "image_size": SIDE,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
    "eval_batch_size": 8,
}
CONFIG = build_config(FLAGS)
TEST = shapes_source("test[:22]", side=SIDE)
KERNEL = "encoder/stem_conv/kernel"
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")
LOADER = EvalLoader(ONE_DEVICE, 8, SIDE)


def networks():
    return small_networks(CONFIG, num_classes=10)


def spoil(model, path, value, count=1):
    variable = compat.raw_variable(model.named_variables()[path])
    values = np.array(variable.read_value())
    values.flat[:count] = value
    variable.assign(values)


def spoilt(path=KERNEL, value=np.nan, count=1):
    model = networks()
    spoil(model, path, value, count)
    return model


def overflowing():
    """Finite weights, and activations that are not."""
    model = networks()
    for path in (KERNEL, "encoder/block_conv/kernel"):
        spoil(model, path, 1e30, count=40)
    return model


def test_a_network_of_finite_numbers_passes_and_stays():
    model = networks()
    before = {path: compat.raw_variable(v).numpy() for path, v in model.named_variables().items()}
    require_finite_network(model, image_size=SIDE, what="the network")
    for path, variable in model.named_variables().items():
        np.testing.assert_array_equal(compat.raw_variable(variable), before[path])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "path,size",
    [(KERNEL, 162), ("encoder/stem_norm/moving_variance", 6), ("supervised_head/dense/bias", 10)],
)
def test_a_variable_that_is_not_finite_is_named_with_how_much_of_it(path, size, value):
    model = spoilt(path, value, count=3)
    with pytest.raises(DivergedError, match=rf"^the network at step 4 holds.*: {path} \(3 of {size}\)\. The training"):
        require_finite_network(model, image_size=SIDE, what="the network at step 4")


def test_of_many_variables_the_first_are_named_and_the_others_counted():
    model = networks()
    named = model.named_variables()
    for path, variable in named.items():
        spoil(model, path, np.nan, count=int(np.prod(variable.shape)))
    with pytest.raises(DivergedError) as caught:
        require_finite_values(named, "the network")
    assert f"{KERNEL} (162 of 162)" in str(caught.value)
    assert f"and {len(named) - 3} more variables" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_whole_numbers_are_finite():
    require_finite_values({"step": tf.Variable(3), "on": tf.Variable(True)}, "the network")


@pytest.mark.parametrize("replicas", [1, 2])
def test_on_replicas_too(mirrored, replicas):
    strategy = mirrored(replicas)
    with strategy.scope():
        model = networks()
        require_finite_network(model, image_size=SIDE, what="the network")
        spoil(model, "encoder/stem_norm/moving_mean", np.nan)
    with pytest.raises(DivergedError, match=r"encoder/stem_norm/moving_mean \(1 of 6\)"):
        require_finite_network(model, image_size=SIDE, what="the network")


def test_weights_too_large_for_activations_are_named():
    with pytest.raises(DivergedError, match=r"in final_avg_pool; its weights are finite, but as large as 1e\+30"):
        require_finite_network(overflowing(), image_size=SIDE, what="the network")


# ---- Whoever uses a network ----


def trainer_of(model):
    return TrainState(None, None, model, None, None, None, [], [], None)


def test_evaluation_gives_no_accuracy():
    assert evaluate_classifier(CONFIG, trainer_of(networks()), TEST, ONE_DEVICE)["eval/examples"] == 22
    with pytest.raises(DivergedError, match=KERNEL):
        evaluate_classifier(CONFIG, trainer_of(spoilt()), TEST, ONE_DEVICE)


@pytest.mark.parametrize("replicas", [1, 2])
def test_evaluation_counts_the_images_whose_logits_are_not_finite(mirrored, replicas):
    """Padding counts nothing: 22 images in batches of 8."""
    strategy = mirrored(replicas)
    with strategy.scope():
        model = overflowing()
    with pytest.raises(DivergedError, match="logits that are not finite for 22 of 22 images of test"):
        evaluate_classifier(CONFIG, trainer_of(model), TEST, strategy)


def test_features_that_are_not_finite_are_refused_by_endpoint_and_image(tmp_path):
    with pytest.raises(
        DivergedError, match=r"final_avg_pool of shapes, test\[:22\], image 0 .*, 1 .*, 2 .*, \.{4} The"
    ):
        extracted(overflowing(), TEST, LOADER)
    said = []
    with pytest.raises(DivergedError, match="final_avg_pool"):
        cached_features(overflowing(), TEST, str(tmp_path), LOADER, say=said.append)
    assert said == ["computing final_avg_pool of 22 images of shapes, test[:22]"]
    assert list(tmp_path.rglob("manifest.json")) == []


def test_images_are_named_where_they_have_names():
    named = dataclasses.replace(TEST, names=lambda: tuple(f"star/{number}.png" for number in range(22)))
    with pytest.raises(DivergedError, match=r"image 0 \(star/0\.png\), 1 \(star/1\.png\), 2"):
        extracted(overflowing(), named, LOADER)


@pytest.mark.parametrize("make,words", [(spoilt, KERNEL), (overflowing, "in final_avg_pool")])
def test_nothing_is_exported(tmp_path, make, words):
    with pytest.raises(DivergedError, match=f"the network at step 7 .*{words}"):
        export_step(make(), str(tmp_path), ModelCard(SIDE, step=7), keep_max=1)
    assert list(tmp_path.iterdir()) == []


def write_diverged(directory, value, count):
    """What a run leaves whose first convolution holds some of such values."""
    model = build_networks(CONFIG, num_classes=10)
    spoil(model, KERNEL, value, count)
    CheckpointStore(str(directory), model.named_variables(), 2).save(3)
    (directory / "flags.json").write_text(json.dumps(CONFIG.to_flags()))
    return directory


@pytest.fixture(scope="module")
def diverged_run(tmp_path_factory):
    """Directory of a run whose checkpoint holds NaNs."""
    return write_diverged(tmp_path_factory.mktemp("diverged"), np.nan, count=5)


def test_a_checkpoint_that_is_not_finite_is_not_loaded(diverged_run):
    with pytest.raises(DivergedError, match=rf"the network in .*ckpt-3 holds .*{KERNEL} \(5 of"):
        load_trained(str(diverged_run))
    assert load_trained(
        str(diverged_run), values=False
    ).model  # the untrained encoder of the same shape is none of these


def test_nor_one_of_finite_weights_that_are_too_large(tmp_path):
    with pytest.raises(DivergedError, match=r"the network in .*ckpt-3 computes values .* from an image"):
        load_trained(str(write_diverged(tmp_path, 3e38, count=100)))


def test_fine_tuning_does_not_start_from_it(diverged_run):
    config = build_config(FLAGS | {"train_mode": "finetune", "checkpoint": str(diverged_run)})
    model = build_networks(config, num_classes=10)
    said = []
    with pytest.raises(InputError, match=rf"the checkpoint .*ckpt-3 holds .*{KERNEL} \(5 of"):
        load_pretrained(config, model, (), said.append)
    assert said and not any("loaded" in line for line in said)
