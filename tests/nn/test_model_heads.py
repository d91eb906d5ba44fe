"""Projection and supervised heads."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.nn import heads


def features(batch=6, width=5):
    return np.random.default_rng(0).normal(size=(batch, width)).astype("float32")


def batch_norm(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def kernels(head):
    return [x.kernel.numpy() for x in head.layers if isinstance(x, tf.keras.layers.Dense)]


def test_no_head_is_the_identity_without_variables():
    head = heads.build_projection_head("none", 5)
    outputs = head(features(), training=True)
    assert head.weights == []
    np.testing.assert_array_equal(outputs["proj_head_input"], features())
    np.testing.assert_array_equal(outputs["proj_head_output"], features())


def test_linear_head_equals_numpy():
    head = heads.build_projection_head("linear", 5, out_dim=3, num_layers=4)
    outputs = head(features(), training=True)
    assert set(outputs) == {"proj_head_input", "proj_head_output"}
    (kernel,) = kernels(head)
    np.testing.assert_allclose(outputs["proj_head_output"], batch_norm(features() @ kernel), atol=1e-4)
    # Dense without bias, norm without offset: a kernel and a scale.
    assert [tuple(v.shape) for v in head.trainable_variables] == [(5, 3), (3,)]


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_nonlinear_head_equals_numpy(num_layers):
    head = heads.build_projection_head("nonlinear", 5, out_dim=3, num_layers=num_layers)
    outputs = head(features(), training=True)
    x = features()
    *hidden, last = kernels(head)
    assert len(hidden) == num_layers - 1
    for number, kernel in enumerate(hidden, start=1):
        assert kernel.shape == (5, 5)
        x = np.maximum(batch_norm(x @ kernel), 0)
        np.testing.assert_allclose(outputs[f"proj_head_layer{number}"], x, atol=1e-3)
    np.testing.assert_allclose(outputs["proj_head_output"], batch_norm(x @ last), atol=2e-3)
    assert len(outputs) == num_layers + 1
    assert len(head.trainable_variables) == 3 * num_layers - 1


def test_head_outputs_are_float32_under_a_mixed_policy():
    head = heads.build_projection_head("nonlinear", 5, dtype="mixed_bfloat16")
    outputs = head(tf.cast(features(), tf.bfloat16), training=True)
    assert {v.dtype for v in outputs.values()} == {tf.float32}
    assert head.get_layer("layer1_dense").compute_dtype == "bfloat16"


def test_dense_kernels_have_stddev_one_hundredth():
    head = heads.build_projection_head("linear", 256, out_dim=64)
    np.testing.assert_allclose(kernels(head)[0].std(), 0.01, rtol=0.05)
    np.testing.assert_allclose(kernels(heads.build_supervised_head(256, 64))[0].std(), 0.01, rtol=0.05)


@pytest.mark.parametrize("zero_init", [False, True])
def test_supervised_head(zero_init):
    head = heads.build_supervised_head(5, 7, zero_init)
    kernel, bias = (v.numpy() for v in head.weights)
    assert kernel.any() != zero_init
    head.get_layer("dense").bias.assign(np.arange(7.0))
    logits = head(features())
    assert logits.dtype == tf.float32
    assert bias.shape == (7,)
    np.testing.assert_allclose(logits, features() @ kernel + np.arange(7), atol=1e-5)


@pytest.mark.parametrize(
    ("selector", "count", "endpoint"),
    [
        (0, 3, "proj_head_input"),
        (1, 3, "proj_head_layer1"),
        (2, 3, "proj_head_layer2"),
        (3, 3, "proj_head_output"),
        (-1, 3, "proj_head_output"),
        (1, 1, "proj_head_output"),
        (0, 0, "proj_head_input"),
        (-1, 0, "proj_head_input"),
    ],
)
def test_selector(selector, count, endpoint):
    assert heads.endpoint_of_layer(heads.selected_layer(selector, count), count) == endpoint


@pytest.mark.parametrize(("selector", "count"), [(4, 3), (-2, 3), (1, 0)])
def test_selector_out_of_range(selector, count):
    with pytest.raises(InputError, match=rf"ft_proj_selector.*-1\.\.{count}.*{selector}"):
        heads.selected_layer(selector, count)


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("cubic", {}, "proj_head_mode.*none, linear, nonlinear.*cubic"),
        ("nonlinear", {"num_layers": 0}, "num_proj_layers"),
        ("linear", {"out_dim": 0}, "proj_out_dim"),
    ],
)
def test_bad_arguments(mode, options, message):
    with pytest.raises(InputError, match=message):
        heads.build_projection_head(mode, 5, **options)


def test_no_classes():
    with pytest.raises(InputError, match="num_classes"):
        heads.build_supervised_head(5, 0)
