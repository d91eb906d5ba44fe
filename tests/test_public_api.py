"""The names of the package are imported when they are used; loading, images, callbacks and functions of features."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tf_simclr
from tests.networks import TINY_RUN, write_run
from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.data.datasets import load_splits
from tf_simclr.data.pipeline import train_batches
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_saved_model
from tf_simclr.interop.stock_encoder import write_stock_encoder
from tf_simclr.train.input import view_policy

FLAGS = TINY_RUN | {"temperature": 0.3, "use_blur": False, "min_crop_area": 0.5, "seed": 4}


def quiet(line):
    """For `say`."""


# ---- Lazy names ----


def test_importing_the_package_does_not_import_tensorflow():
    code = (
        "import sys, tf_simclr; assert set(tf_simclr.PUBLIC) <= set(dir(tf_simclr)); "
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules; "
        "from tf_simclr import evaluate, losses; assert 'tensorflow' not in sys.modules; "
        "tf_simclr.losses.NTXent; assert 'tensorflow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_names_are_there_and_others_are_an_attribute_error():
    assert set(tf_simclr.__all__) == set(tf_simclr.PUBLIC)
    for name in tf_simclr.PUBLIC:
        assert getattr(tf_simclr, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = tf_simclr.nothing_of_the_kind


# ---- Loading ----


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory with an export beside its checkpoint."""
    directory = write_run(tmp_path_factory.mktemp("run"), FLAGS, 3)
    trained = load_trained(str(directory))
    card = ModelCard(16, step=3, config=build_config(FLAGS).to_flags())
    export_saved_model(trained.model, str(directory / "saved_model" / "3"), card)
    return directory, trained


@pytest.mark.parametrize("where", ["", "ckpt-3", "saved_model/3"])
def test_a_run_a_checkpoint_and_an_export_are_loaded(run, where):
    directory, trained = run
    model = tf_simclr.load(str(directory / where))
    named = model.parts.named_variables()
    want = trained.model.named_variables()
    assert named.keys() == want.keys()
    for path, variable in want.items():
        np.testing.assert_array_equal(compat.raw_variable(named[path]), compat.raw_variable(variable), err_msg=path)
    assert model.contrastive_loss.temperature == 0.3 and model.probe_classes == 10
    assert model.augmentation.policy == view_policy(trained.config)[0]
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    want = trained.model.endpoints(images, training=False)["logits_sup"]
    np.testing.assert_allclose(model(images)["logits_sup"], want, atol=1e-5)


def test_encoders_are_loaded_from_everywhere(run, tmp_path):
    directory, trained = run
    model = tf_simclr.load(str(directory))
    model.save(tmp_path / "model.keras")
    write_stock_encoder(trained.model.encoder, str(tmp_path))
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    want = trained.model.encoder(images)["final_avg_pool"]
    for path in (directory, tmp_path / "model.keras", tmp_path / "encoder.keras"):
        encoder = tf_simclr.load_encoder(str(path))
        np.testing.assert_allclose(encoder(images)["final_avg_pool"], want, atol=1e-5)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        tf_simclr.load(str(tmp_path / "none.keras"))
    with pytest.raises(InputError, match="none was found"):
        tf_simclr.load(str(tmp_path))
    (tmp_path / "damaged.keras").write_text("no zip")
    with pytest.raises(InputError, match="damaged"):
        tf_simclr.load(str(tmp_path / "damaged.keras"))
    tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="Sequential"):
        tf_simclr.load(str(tmp_path / "other.keras"))


# ---- Images ----


def test_the_batches_are_those_of_a_run():
    augmentation = tf_simclr.layers.SimCLRAugmentation(16, blur=False, min_area=0.5, seed=4)
    got = iter(
        tf_simclr.image_dataset(
            "shapes", split="train[:48]", batch_size=16, augmentation=augmentation, start_step=2, say=quiet
        )
    )
    source = load_splits("shapes", train_split="train[:48]", eval_split=None).train
    policy, views = view_policy(build_config(FLAGS))
    want = iter(train_batches(source, policy=policy, num_views=views, batch_size=16, seed=4, start_step=2, plain=16))
    for _ in range(2):
        batch, wanted = next(got), next(want)
        assert set(batch) == {"views", "label", "plain"}
        for field in ("label", "plain"):
            np.testing.assert_array_equal(batch[field], wanted[field])
        for view, theirs in zip(batch["views"], wanted["views"], strict=True):
            np.testing.assert_array_equal(view, theirs)


def test_a_folder_without_splits_has_a_tenth_held_out(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    lines = []
    sizes = {}
    for split in ("train", "test"):
        data = tf_simclr.image_dataset("folder", str(tmp_path), split, batch_size=7, image_size=16, say=lines.append)
        batches = [(images.shape, labels.numpy()) for images, labels in data]
        assert all(shape[1:] == (16, 16, 3) and len(labels) == shape[0] > 0 for shape, labels in batches)
        sizes[split] = sum(len(labels) for _, labels in batches)
    assert sum(sizes.values()) == 20 and 2 <= sizes["test"] <= 6
    assert any("held out" in line for line in lines)


def test_views_and_images_exclude_each_other():
    with pytest.raises(InputError, match="image_size"):
        tf_simclr.image_dataset("shapes", batch_size=4)


# ---- Evaluation ----


def clusters(n=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) + 8 * np.eye(4)[labels]).astype(np.float32), labels


def test_functions_of_features_find_clusters():
    train, test = clusters(), clusters(seed=1)
    assert tf_simclr.evaluate.knn(*train, *test, k=5) == 1.0
    # 200 neighbours are all 30.
    assert tf_simclr.evaluate.knn(*train, *test) == tf_simclr.evaluate.knn(*train, *test, k=30)
    assert tf_simclr.evaluate.linear_probe(*train, *test) == 1.0
    assert tf_simclr.evaluate.logistic_regression(*train, *test) == 1.0
    wrong = (test[1] + 1) % 3
    assert tf_simclr.evaluate.linear_probe(*train, test[0], wrong) == 0.0
    assert tf_simclr.evaluate.health(train[0]).examples == 30


def test_the_linear_probe_standardises_unless_it_is_asked_not_to():
    """Features of an own offset each, beside which what tells the classes apart is small."""
    offset = 20 * np.array([50.0, -20.0, 30.0, 10.0], np.float32)
    (train, labels), (test, truth) = clusters(), clusters(seed=1)
    arrays = [train + offset, labels, test + offset, truth]
    assert tf_simclr.evaluate.linear_probe(*arrays, epochs=5) == 1.0
    assert tf_simclr.evaluate.linear_probe(*arrays, epochs=5, standardise=False) < 0.9


def pooled():
    """A network whose features are the means of the colours."""
    inputs = tf.keras.Input((None, None, 3))
    return tf.keras.Model(inputs, {"final_avg_pool": tf.keras.layers.GlobalAveragePooling2D()(inputs), "map": inputs})


@pytest.mark.parametrize("endpoint", ["final_avg_pool", "map"])
def test_features_are_extracted_from_arrays_and_data_sets(endpoint):
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(7)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(3)
    for given in ((images, labels), data, data.map(lambda x, y: (tf.cast(x, tf.float32) / 255.0, y))):
        found, own = tf_simclr.evaluate.extract(pooled(), given, endpoint=endpoint, batch_size=2)
        np.testing.assert_allclose(found, images.mean(axis=(1, 2)) / 255, atol=1e-6)
        np.testing.assert_array_equal(own, labels)
    assert tf_simclr.evaluate.extract(pooled(), images)[1] is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tf.data.Dataset.from_tensors(np.zeros((2, 4, 4, 3), np.float32)).repeat(), "endless"),
        (tf.data.Dataset.from_tensor_slices(np.zeros((2, 4, 4, 3), np.float32)), "batches"),
        (tf.data.Dataset.from_tensors(np.zeros((2, 4, 4, 3), np.float32)).take(0), "must have an image"),
    ],
)
def test_data_without_batches_of_images_are_refused(data, words):
    with pytest.raises(InputError, match=words):
        tf_simclr.evaluate.extract(pooled(), data)


def test_the_probe_callback_logs_and_changes_nothing():
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = (0.3 * rng.random((24, 8, 8, 3)) + 0.6 * labels[:, None, None, None]).astype(np.float32)
    inputs = tf.keras.Input((8, 8, 3))
    outputs = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.Conv2D(4, 1)(inputs))
    model = tf.keras.Model(inputs, outputs)
    model.compile(tf.keras.optimizers.SGD(0.0), loss="mse")
    before = model.get_weights()
    probe = tf_simclr.callbacks.Probe((images, labels), (images, labels), every=2, k=3)
    history = model.fit(images, np.zeros((24, 4)), epochs=4, callbacks=[probe], verbose=0).history
    h, own = tf_simclr.evaluate.extract(model, (images, labels))
    knn = tf_simclr.evaluate.knn(h, own, h, own, k=3)
    linear = tf_simclr.evaluate.linear_probe(h, own, h, own, epochs=20, batch_size=24)
    assert knn > 0.9 and linear > 0.9
    assert history["val_knn_top_1"] == [knn] * 2 and history["val_linear_top_1"] == [linear] * 2
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises(InputError, match="labels"):
        unlabelled = tf_simclr.callbacks.Probe(images, images)
        unlabelled.set_model(model)
        unlabelled.figures()
