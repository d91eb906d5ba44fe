"""BatchNorm on one replica: values, gradients, precision, freezing, saving."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.nn import normalization
from tf_simclr.nn.normalization import BatchNorm, frozen_statistics

EPSILON = 1e-5


def random_inputs(shape, seed=0, offset=3.0):
    return np.random.default_rng(seed).normal(offset, 2.0, shape).astype("float32")


def built(shape, **options):
    layer = BatchNorm(**options)
    layer.build(shape)
    return layer


def naive_batch_norm(x, gamma, beta):
    """Ioffe and Szegedy's algorithm 1, one value at a time."""
    rows = x.reshape(-1, x.shape[-1]).astype("float64")
    normalised = np.empty_like(rows)
    means, variances = [], []
    for c in range(rows.shape[1]):
        mean = sum(rows[:, c]) / len(rows)
        variance = sum((value - mean) ** 2 for value in rows[:, c]) / len(rows)
        for i, value in enumerate(rows[:, c]):
            normalised[i, c] = gamma[c] * (value - mean) / np.sqrt(variance + EPSILON) + beta[c]
        means.append(mean)
        variances.append(variance)
    return normalised.reshape(x.shape), np.array(means), np.array(variances)


def test_hand_computed_case():
    # Channel values 1, 3, 5: mean 3, biased variance 8/3 (unbiased it would be 4).
    x = tf.constant([[1.0], [3.0], [5.0]])
    layer = built((None, 1), momentum=0.5, epsilon=1 / 3)  # 8/3 + 1/3 = 3
    np.testing.assert_allclose(layer(x, training=True), np.array([[-2], [0], [2]]) / np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [1.5])
    np.testing.assert_allclose(layer.moving_variance.numpy(), [0.5 + 4 / 3], rtol=1e-6)
    # Inference uses the moving statistics: (x - 1.5) / sqrt(11/6 + 1/3).
    np.testing.assert_allclose(layer(x), (x - 1.5) / np.sqrt(13 / 6), rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 3), (1, 2, 3, 1, 3)])
def test_training_equals_naive_numpy(shape):
    x = random_inputs(shape)
    layer = built(shape, momentum=0.9)
    layer.gamma.assign([0.5, 1.0, -2.0])
    layer.beta.assign([0.0, 1.0, 5.0])
    outputs, mean, variance = naive_batch_norm(x, [0.5, 1.0, -2.0], [0.0, 1.0, 5.0])
    np.testing.assert_allclose(layer(x, training=True), outputs, atol=2e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_fused_kernel_equals_moments(monkeypatch, scale):
    """Also for a variance below epsilon, where a kernel that changes epsilon would show."""
    x = tf.constant(random_inputs((4, 5, 5, 3)) * scale)
    weights = tf.constant(random_inputs((4, 5, 5, 3), seed=1))
    results = []
    for fused_dtypes in (normalization.FUSED_DTYPES, ()):
        monkeypatch.setattr(normalization, "FUSED_DTYPES", fused_dtypes)
        layer = built(x.shape)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
            loss = tf.reduce_sum(weights * outputs)
        parameters = [compat.raw_variable(v) for v in layer.trainable_variables]
        gradients = tape.gradient(loss, [x, *parameters])
        results.append([outputs, *gradients, *layer.non_trainable_variables, layer(x)])
    for fused, unfused in zip(*results, strict=True):
        fused, unfused = fused.numpy(), unfused.numpy()
        np.testing.assert_allclose(fused, unfused, atol=3e-5 * np.abs(unfused).max())


def test_gradient_equals_finite_differences():
    x = random_inputs((3, 2)).astype("float64")
    weights = random_inputs((3, 2), seed=1)

    def loss(values):
        return np.sum(weights * naive_batch_norm(values, [1, 1], [0, 0])[0])

    expected = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        expected[index] = (loss(x + step) - loss(x - step)) / 2e-5
    layer, inputs = built((None, 2)), tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = tf.reduce_sum(weights * layer(inputs, training=True))
    np.testing.assert_allclose(tape.gradient(value, inputs), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (1, 2)])
def test_single_value_gives_beta_and_a_finite_variance(shape):
    layer = built(shape)
    # A GPU computes x * s - mean * s with s = 1 / sqrt(epsilon): two numbers near 2,200, which are rounded.
    atol = 7.0 / np.sqrt(layer.epsilon) * np.finfo(np.float32).eps
    np.testing.assert_allclose(layer(tf.fill(shape, 7.0), training=True), np.zeros(shape), atol=atol)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [0.9, 0.9], rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("shape", [(64, 8, 8, 2), (4096, 2)])
def test_low_precision_keeps_float32_moments(policy, shape):
    """The sum of these values overflows float16 and loses its increments in bfloat16."""
    dtype = tf.as_dtype(policy.removeprefix("mixed_"))
    x = tf.cast(random_inputs(shape, offset=100.0), dtype)
    layer = built(shape, dtype=policy)
    outputs = layer(x, training=True)
    assert outputs.dtype == dtype
    assert {compat.raw_variable(v).dtype for v in layer.weights} == {tf.float32}
    exact = tf.cast(x, tf.float32).numpy().reshape(-1, 2)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * exact.var(0), rtol=1e-4)
    normalised = ((exact - exact.mean(0)) / exact.std(0)).reshape(shape)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), normalised, atol=0.02)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 3, 3)])
def test_frozen_layer_is_in_inference_mode_and_bit_identical(shape):
    layer = built(shape)
    layer(random_inputs(shape), training=True)
    layer.trainable = False
    before = [v.numpy().copy() for v in layer.weights]
    x = random_inputs(shape, seed=2)
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    for old, variable in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    assert layer.trainable_variables == []


def test_frozen_statistics_normalises_by_the_batch_without_update():
    x = random_inputs((4, 2, 2, 3))
    layer, reference = built(x.shape), built(x.shape)
    step = tf.function(lambda images: layer(images, training=True))
    with frozen_statistics():
        outputs = step(x)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(layer.moving_variance.numpy(), np.ones(3))
    np.testing.assert_allclose(outputs, reference(x, training=True), rtol=1e-6)
    layer(x, training=True)
    assert layer.moving_mean.numpy().any()


def test_frozen_statistics_ends_with_an_exception_and_reaches_other_threads():
    seen = []
    with pytest.raises(RuntimeError), frozen_statistics():
        thread = threading.Thread(target=lambda: seen.append(normalization.statistics_are_frozen()))
        thread.start()
        thread.join()
        raise RuntimeError
    assert seen == [True]
    assert not normalization.statistics_are_frozen()


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_offset_or_scale(center, scale):
    x = random_inputs((5, 3))
    layer = built(x.shape, center=center, scale=scale)
    assert len(layer.trainable_variables) == center + scale
    np.testing.assert_allclose(layer(x, training=True), naive_batch_norm(x, np.ones(3), np.zeros(3))[0], atol=1e-5)


def test_compiles_with_xla():
    x = tf.constant(random_inputs((3, 4, 4, 2)))
    eager, compiled = built(x.shape), built(x.shape)
    outputs = tf.function(lambda images: compiled(images, training=True), jit_compile=True)(x)
    np.testing.assert_allclose(outputs, eager(x, training=True), atol=1e-5)
    for a, b in zip(eager.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_config_round_trip():
    layer = BatchNorm(0.7, 1e-3, False, True, "zeros", False, name="norm", dtype="mixed_bfloat16")
    again = BatchNorm.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.momentum, again.epsilon, again.center, again.global_moments) == (0.7, 1e-3, False, False)


def test_keras_and_saved_model_round_trip(tmp_path):
    inputs = tf.keras.Input((None, None, 2))
    model = tf.keras.Model(inputs, BatchNorm(name="norm")(inputs))
    x = tf.constant(random_inputs((2, 3, 3, 2)))
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    module = tf.Module()
    module.serve = tf.function(lambda images: model(images, training=False), input_signature=[tf.TensorSpec(x.shape)])
    module.held = [compat.raw_variable(v) for v in model.variables]
    tf.saved_model.save(module, str(tmp_path / "saved"))
    restored = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(restored.serve(x), model(x), rtol=1e-6)


@pytest.mark.parametrize("options", [{"momentum": 1.5}, {"epsilon": 0.0}])
def test_bad_arguments(options):
    with pytest.raises(InputError, match=next(iter(options))):
        BatchNorm(**options)


def test_unknown_channels():
    with pytest.raises(InputError, match="channels"):
        BatchNorm().build((None, None))
