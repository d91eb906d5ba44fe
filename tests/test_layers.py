"""The layers of the public API."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_simclr
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.layers import ProjectionHead, SimCLRAugmentation

SIZE = 16


def images(n=6, side=20):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_views_are_those_of_run_py(one_by_one, monkeypatch):
    """The same seed, epoch, example and view give the numbers of the input pipeline of a run, in both its forms."""
    if one_by_one:
        monkeypatch.setattr("tf_simclr.data.stages.is_small", lambda shape: False)
        monkeypatch.setattr("tf_simclr.data.views.is_small", lambda shape: False)
    source = shapes_source("train[:8]")
    policy = ViewPolicy(SIZE, color_jitter_strength=0.7, blur=True, min_crop_area=0.3)
    batch = next(iter(train_batches(source, policy=policy, batch_size=8, num_views=3, seed=11, start_step=1)))
    records = {int(r["index"]): source.decode(r["data"]) for r in source.records(None)}
    given = tf.stack([records[int(i)] for i in batch["index"]])
    layer = SimCLRAugmentation(SIZE, 0.7, True, 0.3, views=3, seed=11)
    for got, want in zip(layer(given, index=batch["index"], epoch=batch["epoch"]), batch["views"], strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_counter_stands_for_the_place_and_is_saved():
    layer = SimCLRAugmentation(SIZE, seed=3)
    first, second = layer(images()), layer(images())
    assert not np.allclose(first[0], second[0]) and not np.allclose(first[0], first[1])
    again = SimCLRAugmentation.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(images())[1], first[1])
    np.testing.assert_array_equal(again(images(), index=tf.range(6, 12))[0], second[0])
    other = SimCLRAugmentation(SIZE, seed=3)
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(other(images())[0], layer(images())[0])


def test_views_are_float32_in_tf_data_in_models_and_of_one_image():
    layer = SimCLRAugmentation(SIZE, views=3)
    data = tf.data.Dataset.from_tensor_slices(images())
    for batches, shape in ((data, (SIZE, SIZE, 3)), (data.batch(2), (2, SIZE, SIZE, 3))):
        views = next(iter(batches.map(layer)))
        assert len(views) == 3
        for view in views:
            assert view.dtype == tf.float32 and view.shape == shape
            assert float(tf.reduce_min(view)) >= 0 and float(tf.reduce_max(view)) <= 1
    inputs = tf.keras.Input((20, 20, 3))
    model = tf.keras.Model(inputs, layer(inputs))
    assert [view.shape for view in model(images())] == [(6, SIZE, SIZE, 3)] * 3


def test_integers_and_floats_are_one_image():
    layer = SimCLRAugmentation(SIZE)
    options = {"index": tf.range(6), "epoch": 2}
    np.testing.assert_allclose(
        layer(images(), **options)[0], layer(images() / np.float32(255), **options)[0], atol=1e-6
    )


def test_replicas_count_on_together(mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        layer = SimCLRAugmentation(8, blur=False)

    @tf.function
    def call(x):
        return strategy.run(lambda x: layer(x)[0], args=(x,))

    given = tf.constant(images(2) / np.float32(255))
    first = strategy.experimental_local_results(call(given))
    assert not np.allclose(first[0], first[1])
    alone = SimCLRAugmentation(8, blur=False)
    np.testing.assert_allclose(tf.concat(first, 0), alone(np.concatenate([given, given]))[0], atol=1e-6)
    assert int(layer.images_seen.numpy()) == 4


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"strength": -1.0}, {"views": 0}, {"views": 129}, {"min_area": 0.0}, {"impl": "v3"}]
)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(InputError):
        SimCLRAugmentation(**{"size": 8} | options)
    with pytest.raises(InputError, match="index"):
        SimCLRAugmentation(8)(images(), epoch=1)


@pytest.mark.parametrize("mode", ["none", "linear", "nonlinear"])
def test_the_projection_head_goes_through_its_config(mode):
    head = ProjectionHead(5, num_layers=2, mode=mode, batch_norm_decay=0.8)
    z = head(tf.random.normal([4, 7]), training=True)
    assert z.shape == head.compute_output_shape((4, 7)) == (4, 7 if mode == "none" else 5)
    again = ProjectionHead.from_config(head.get_config())
    again.build((None, 7))
    assert [w.shape for w in again.get_weights()] == [w.shape for w in head.get_weights()]
    again.set_weights(head.get_weights())
    h = tf.random.normal([4, 7])
    np.testing.assert_array_equal(again(h), head(h))


def test_the_projection_head_takes_moments_over_all_replicas_unless_it_is_asked_not_to():
    for global_bn in (True, False):
        head = ProjectionHead(5, num_layers=2, global_bn=global_bn)
        head.build((None, 7))
        norms = [x for x in head.network.layers if isinstance(x, tf_simclr.layers.GlobalBatchNorm)]
        assert len(norms) == 2 and all(norm.global_moments is global_bn for norm in norms)


def test_resnet_takes_the_global_policy_and_its_own():
    assert tf_simclr.resnet(18, 0.0625, "cifar").get_layer("stem_conv").compute_dtype == "float32"
    encoder = tf_simclr.resnet(18, 0.0625, "cifar", dtype="mixed_bfloat16", global_bn=False, batch_norm_decay=0.5)
    assert encoder.get_layer("stem_conv").compute_dtype == "bfloat16"
    norm = encoder.get_layer("stem_norm")
    assert norm.momentum == 0.5 and not norm.global_moments
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert tf_simclr.resnet(18, 0.0625, "cifar").get_layer("stem_conv").compute_dtype == "bfloat16"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
