"""Softmax regression by SGD against Keras's optimizer, against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import linear
from tf_simclr.evaluate.measures.linear import _batches, linear_probe, probe_batch_size
from tf_simclr.evaluate.measures.logistic_regression import fit_logistic_regression
from tf_simclr.optim.schedules import WarmupCosine
from tf_simclr.train.build import build_networks

PLAIN = {"standardise": False}


def blobs(n=90, d=6, classes=3, seed=0, spread=1.5):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return (centres[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels


def test_whole_batches_follow_keras_step_by_step():
    features, labels = blobs()
    steps = 12
    ours = linear_probe(features, labels, 3, epochs=steps, batch_size=90, learning_rate=1.0, weight_decay=0.01, **PLAIN)
    kernel, bias = tf.Variable(tf.zeros([6, 3])), tf.Variable(tf.zeros([3]))
    # Rows change their order within a whole batch, and nothing else.
    optimizer = tf.keras.optimizers.SGD(WarmupCosine(90 / 256, 0, steps), momentum=0.9, nesterov=True)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            logits = features @ kernel + bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses) + 0.01 * tf.nn.l2_loss(kernel)
        optimizer.apply_gradients(zip(tape.gradient(loss, [kernel, bias]), [kernel, bias], strict=True))
    np.testing.assert_allclose(ours.kernel, kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.bias, bias, rtol=1e-4, atol=1e-6)


def test_one_step_by_hand():
    # Zeros give 1/2 to both classes: the errors of the one image are (-1/2, 1/2); rate 0.1 * 1 / 256 * 256 = 0.1,
    # and Nesterov's first step is 1.9 of it.
    ours = linear_probe(np.array([[2.0, -1.0]]), np.array([0]), 2, epochs=1, batch_size=1, learning_rate=25.6, **PLAIN)
    np.testing.assert_allclose(ours.kernel, 0.19 * 0.5 * np.array([[2.0, -2.0], [-1.0, 1.0]]), rtol=1e-6)
    np.testing.assert_allclose(ours.bias, 0.19 * 0.5 * np.array([1.0, -1.0]), rtol=1e-6)


def test_it_finds_what_scikit_learn_finds():
    features, labels = blobs(600)
    held_out, truth = blobs(600, seed=1)
    ours = linear_probe(features, labels, 3, epochs=300, batch_size=100, weight_decay=0.01, **PLAIN)
    theirs = LogisticRegression(C=1 / (0.01 * 600), max_iter=1000).fit(features, labels)
    assert np.mean(ours.logits(held_out).argmax(1) == truth) == pytest.approx(theirs.score(held_out, truth), abs=0.01)
    probabilities = theirs.predict_proba(held_out)
    logits = ours.logits(held_out)
    ours_probabilities = np.exp(logits - logits.max(1, keepdims=True))
    ours_probabilities /= ours_probabilities.sum(1, keepdims=True)
    np.testing.assert_allclose(ours_probabilities, probabilities, atol=0.02)


def test_every_image_comes_once_an_epoch_whatever_the_batch(tmp_path):
    """Weights of batches that do not divide the data are the same from memory and from a file, and by seed."""
    features, labels = blobs(50)
    path = tmp_path / "features.npy"
    np.save(path, features)
    calls = []
    arguments = {"epochs": 3, "batch_size": 15}
    first = linear_probe(features, labels, 3, **arguments, on_step=lambda *call: calls.append(call))
    mapped = linear_probe(np.load(path, mmap_mode="r"), labels, 3, **arguments)
    other = linear_probe(features, labels, 3, **arguments, seed=1)
    np.testing.assert_array_equal(first.kernel, mapped.kernel)
    assert np.abs(first.kernel - other.kernel).max() > 0
    assert [call[:2] for call in calls] == [(step, 10) for step in range(1, 11)]
    assert calls[0][2] == pytest.approx(np.log(3)) and calls[-1][2] < calls[0][2]


def test_the_order_is_one_permutation_an_epoch():
    rows = np.concatenate(list(_batches(7, 3, 7, seed=0)))
    assert sorted(rows) == sorted(list(range(7)) * 3)
    alone = [tuple(batch) for batch in _batches(7, 7, 3, seed=0)]
    assert set(alone) == {tuple(range(7))}


def test_logits_in_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(linear, "_ROWS_AT_A_TIME", 4)
    features, labels = blobs(10)
    classifier = linear_probe(features, labels, 3, epochs=2, batch_size=5, **PLAIN)
    np.testing.assert_allclose(classifier.logits(features), features @ classifier.kernel + classifier.bias, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 3, 1])}, "below the number of classes, 3"),
        ({"labels": np.array([0, -1, 1])}, ">= 0"),
        ({"labels": np.array([0, 1])}, "one entry an example"),
        ({"features": np.zeros(3)}, "must be a matrix"),
        ({"batch_size": 4}, "batch_size"),
        ({"num_classes": 1}, "num_classes"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"features": np.eye(3, 2, dtype=np.float32) * 1e30, "learning_rate": 1e9, "standardise": False}, "diverged"),
        ({"features": np.array([[1, 2], [0, np.nan], [3, 4]], np.float32)}, "`features` must be finite.*row 1"),
        ({"features": np.array([[1, 2], [0, 1], [3, np.inf]], np.float32)}, "`features` must be finite.*row 2"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_named(change, message):
    arguments = {"features": np.ones((3, 2), np.float32), "labels": np.array([0, 1, 2]), "num_classes": 3}
    with pytest.raises(InputError, match=message):
        linear_probe(**(arguments | {"batch_size": 3} | change))


def test_a_classifier_of_standardised_features_takes_features_as_they_are():
    """The weights are those of features standardised by hand, and so are the logits."""
    features, labels = blobs(60)
    features = features * np.float32([1, 10, 0.01, 1, 5, 1]) + np.float32([0, 3, 0, -2, 0, 9])
    mean, std = features.mean(axis=0), features.std(axis=0)
    ours = linear_probe(features, labels, 3, epochs=5, batch_size=20)
    by_hand = linear_probe((features - mean) / std, labels, 3, epochs=5, batch_size=20, standardise=False)
    np.testing.assert_allclose(ours.kernel, by_hand.kernel, atol=1e-4)
    np.testing.assert_allclose(ours.logits(features[:7]), by_hand.logits((features[:7] - mean) / std), atol=1e-3)
    on_the_way = []
    linear_probe(features, labels, 3, epochs=5, batch_size=20, on_epoch=lambda _, so_far: on_the_way.append(so_far))
    np.testing.assert_array_equal(on_the_way[-1].logits(features), ours.logits(features))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_scale_of_an_encoder_changes_nothing(scale):
    """Features a thousand times smaller once left the classifier where it started: the largest class for everything."""
    features, labels = blobs(400, spread=0.5)
    plain = linear_probe(features, labels, 3, epochs=20, batch_size=100)
    scaled = linear_probe(features * np.float32(scale) + np.float32(3 * scale), labels, 3, epochs=20, batch_size=100)
    np.testing.assert_allclose(scaled.kernel, plain.kernel, atol=1e-2)


def test_without_standardising_small_features_leave_it_untrained():
    features, labels = blobs(400, spread=0.5)
    labels = np.where(np.arange(400) < 200, 0, labels)  # half of them are of one class
    small = features * np.float32(1e-4) + np.float32(0.01)

    def accuracy(**options):
        classifier = linear_probe(small, labels, 3, epochs=20, batch_size=100, **options)
        return np.mean(classifier.logits(small).argmax(axis=1) == labels)

    assert accuracy(standardise=False) == np.mean(labels == 0)
    assert accuracy() > np.mean(labels == 0) + 0.05


def test_the_untrained_encoder_is_a_floor_and_not_the_largest_class():
    """Bright images and dark ones, three of four dark, seen by a network as it is initialised: its h varies by 1e-3."""
    rng = np.random.default_rng(0)
    labels = (np.arange(200) % 4 == 0).astype(int)
    images = np.clip(0.3 + 0.1 * labels[:, None, None, None] + 0.1 * rng.normal(size=(200, 16, 16, 3)), 0, 1)
    flags = {"image_size": 16, "resnet_depth": 10, "width_multiplier": 0.0625, "num_proj_layers": 2}
    encoder = build_networks(build_config(flags), num_classes=0).encoder
    h = np.asarray(encoder(images.astype(np.float32), training=False)["final_avg_pool"])

    def accuracy(**options):
        classifier = linear_probe(h[:120], labels[:120], 2, epochs=30, batch_size=30, **options)
        return np.mean(classifier.logits(h[120:]).argmax(axis=1) == labels[120:])

    fitted = fit_logistic_regression(h[:120], labels[:120])
    best = np.mean(fitted.predict(h[120:]) == labels[120:])
    assert accuracy(standardise=False) == 0.75 and best > 0.9
    assert accuracy() > best - 0.05


def test_what_is_left_out_comes_from_the_labels():
    """Classes, and a batch of a quarter of the images, but at most 4,096: an epoch has four steps or more."""
    features, labels = blobs(90)
    named = linear_probe(features, labels, 3, epochs=4, batch_size=22)
    np.testing.assert_array_equal(linear_probe(features, labels, epochs=4).kernel, named.kernel)
    assert [probe_batch_size(n) for n in (1, 3, 90, 16_384, 1_000_000)] == [1, 1, 22, 4096, 4096]
    assert probe_batch_size(90, most=8) == 8
