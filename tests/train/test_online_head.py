"""The online head against NumPy and Keras: it depends on no scale of h, and leaves a dense layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.compat import raw_variable
from tf_simclr.nn.heads import build_supervised_head
from tf_simclr.train.online_head import (
    DAMPING,
    LEAST_VARIANCE,
    OnlineHead,
    deviations,
    fold,
    learning_rate,
    plain_images,
    precondition,
    unfold,
)

WIDTH, CLASSES, N, STEPS = 6, 3, 24, 5
# 0.3 x 24 / 128, all the way but the last three tenths of five steps.
RATES = [0.05625] * 4 + [0.05625 * (1 - 4 / 5) / 0.3]


def batches(steps=STEPS, seed=0, scale=None):
    """h [n, d] of classes that can be told apart, far from mean 0, and labels; `scale` of each step."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, WIDTH))
    for step in range(steps):
        labels = rng.integers(0, CLASSES, N)
        h = 5 + centres[labels] + rng.normal(size=(N, WIDTH)) * np.linspace(0.3, 2, WIDTH)
        yield (h * (1.0 if scale is None else scale[step])).astype(np.float32), labels


def build(warmup_steps=0, train_steps=STEPS, **options):
    tf.keras.utils.set_random_seed(1)
    head = build_supervised_head(WIDTH, CLASSES)
    return head, OnlineHead(head, warmup_steps=warmup_steps, train_steps=train_steps, **options)


def dense_of(head):
    return [raw_variable(v).numpy() for v in (head.layers[-1].kernel, head.layers[-1].bias)]


def by_hand(kernel, bias, data, weight_decay=0.0):
    """NumPy, straight from the definition: the classifier of standardised features is what is kept and trained."""
    v, c = kernel.astype(np.float64), bias.astype(np.float64)  # before the first batch the statistics are 0 and 1
    mean, variance, velocity, losses = np.zeros(WIDTH), np.ones(WIDTH), [np.zeros_like(v), np.zeros_like(c)], []
    for step, (h, labels) in enumerate(data):
        x = (h - h.mean(0)) / h.std(0)
        p = np.exp(x @ v + c)
        p /= p.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(N), labels]).mean())
        error = (p - np.eye(CLASSES)[labels]) / N
        rate = RATES[step]
        newton = np.linalg.solve(x.T @ x / N + 0.3 * np.eye(WIDTH), x.T @ error + weight_decay * v)
        for parameter, slot, direction in zip((v, c), velocity, (newton, error.sum(0)), strict=True):
            slot *= 0.9
            slot += rate * direction
            parameter -= 0.9 * slot + rate * direction
        kept = min(0.98, step / (step + 1))
        mean, variance = kept * mean + (1 - kept) * h.mean(0), kept * variance + (1 - kept) * h.var(0)
    return losses, v / np.sqrt(variance)[:, None], c - (mean / np.sqrt(variance)) @ v


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_is_preconditioned_sgd_on_standardised_features_folded_into_a_dense_layer(weight_decay):
    head, online = build(weight_decay=weight_decay)
    losses, kernel, bias = by_hand(*dense_of(head), batches(), weight_decay)
    step = tf.function(online.train)
    got = [float(step(tf.constant(h), tf.constant(y))["train/supervised_loss"]) for h, y in batches()]
    np.testing.assert_allclose(got, losses, rtol=1e-5)
    np.testing.assert_allclose(dense_of(head)[0], kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dense_of(head)[1], bias, rtol=1e-4, atol=1e-4)


def test_keras_s_batch_norm_dense_and_sgd_do_the_same():
    """Its moving statistics start elsewhere: training is compared, where the batch's own serve."""
    head, online = build()
    norm = tf.keras.layers.BatchNormalization(center=False, scale=False, epsilon=1e-9)
    dense = tf.keras.layers.Dense(CLASSES)
    model = tf.keras.Sequential([tf.keras.Input((WIDTH,)), norm, dense])
    dense.set_weights(dense_of(head))
    optimizer = tf.keras.optimizers.SGD(RATES[0], momentum=0.9, nesterov=True)
    for h, labels in batches(4):
        with tf.GradientTape() as tape:
            logits = model(h, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        x = (h - h.mean(0)) / h.std(0)
        kernel_gradient, bias_gradient = tape.gradient(loss, dense.weights)
        direction = np.linalg.inv(np.cov(x, rowvar=False, bias=True) + 0.3 * np.eye(WIDTH)) @ kernel_gradient.numpy()
        optimizer.apply_gradients(zip((tf.constant(direction, tf.float32), bias_gradient), dense.weights, strict=True))
        got = online.train(tf.constant(h), tf.constant(labels))
        assert float(got["train/supervised_loss"]) == pytest.approx(float(loss), rel=1e-4)
        assert float(got["train/supervised_acc"]) == pytest.approx(np.mean(np.argmax(logits, 1) == labels))


def test_folding_and_unfolding_are_inverse_and_leave_the_logits():
    rng = np.random.default_rng(0)
    kernel, bias, mean = (tf.constant(rng.normal(size=s), tf.float32) for s in ((WIDTH, CLASSES), CLASSES, WIDTH))
    deviation = tf.constant(rng.uniform(0.1, 3, WIDTH), tf.float32)
    h = rng.normal(size=(4, WIDTH)).astype(np.float32)
    plain, offset = fold(kernel, bias, mean, deviation)
    np.testing.assert_allclose(h @ plain + offset, (h - mean) / deviation @ kernel + bias, rtol=1e-4, atol=1e-5)
    for got, want in zip(unfold(plain, offset, mean, deviation), (kernel, bias), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_h_changes_nothing(scale):
    results = []
    for factor in (1.0, scale):
        head, online = build()
        losses = [float(online.train(h, y)["train/supervised_loss"]) for h, y in batches(scale=np.full(STEPS, factor))]
        h, _ = next(batches(1, seed=7))
        results.append((losses, head(h * np.float32(factor)).numpy()))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_a_scale_that_runs_away_does_not_throw_the_loss_off():
    """As that of h does while LARS trains the encoder; plain SGD on h at the same rate shows what happens without."""
    steps = 340
    scale = np.exp(np.concatenate([np.linspace(0, 5, 20), np.linspace(5, 3, 20), np.full(300, 3.0)]))
    head, online = build(5, steps)
    step = tf.function(online.train)
    losses = [
        float(step(tf.constant(h), tf.constant(y))["train/supervised_loss"]) for h, y in batches(steps, scale=scale)
    ]
    assert max(losses) < np.log(CLASSES) + 0.5
    assert np.mean(losses[-5:]) < 0.5 * np.log(CLASSES)
    seen = [head(h).numpy().argmax(1) == labels for h, labels in list(batches(steps, scale=scale))[-20:]]
    assert np.mean(seen) > 0.75
    kernel, worst = np.zeros((WIDTH, CLASSES), np.float32), 0.0
    for h, labels in batches(60, scale=scale):
        p = tf.nn.softmax(h @ kernel).numpy()
        worst = max(worst, float(-np.log(np.maximum(p[np.arange(N), labels], 1e-30)).mean()))
        kernel -= 0.3 * h.T @ (p - np.eye(CLASSES)[labels]) / N
    assert worst > 10


def test_features_that_never_vary_and_images_without_a_label_do_no_harm():
    head, online = build()
    for h, labels in batches():
        h[:, 2] = 0.25
        labels[:5] = -1
        online.train(h, labels)
    kernel, bias = dense_of(head)
    assert np.isfinite(kernel).all() and np.isfinite(bias).all()
    head, online = build()
    before = dense_of(head)
    metrics = online.train(np.full((N, WIDTH), 3.0, np.float32), np.full(N, -1))
    assert float(metrics["train/supervised_loss"]) == 0
    np.testing.assert_allclose(head(np.full((1, WIDTH), 3.0, np.float32))[0], before[1], atol=1e-5)


@pytest.mark.parametrize("n", [3, 40])
def test_the_gradient_is_divided_by_the_damped_covariance(n):
    """With fewer images than features too, where the covariance alone has no inverse."""
    rng = np.random.default_rng(n)
    x, gradient = rng.normal(size=(n, WIDTH)), rng.normal(size=(WIDTH, CLASSES))
    want = np.linalg.solve(x.T @ x / n + DAMPING * np.eye(WIDTH), gradient)
    got = precondition(tf.constant(gradient, tf.float32), tf.constant(x, tf.float32))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose((x.T @ (x @ got)) / n + DAMPING * got, gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_counts_a_step_and_changes_nothing_else(bad):
    head, online = build()
    train = tf.function(online.train)
    for number, (h, labels) in enumerate(batches()):
        before = [raw_variable(v).numpy() for v in online.named_state().values()], dense_of(head)
        if number == 3:
            h[2, 1] = bad
        train(h, labels)
        after = [raw_variable(v).numpy() for v in online.named_state().values()], dense_of(head)
        kept = [
            np.array_equal(a, b) for was, now in zip(before, after, strict=True) for a, b in zip(was, now, strict=True)
        ]
        assert not kept[0] and all(kept[1:]) == (number == 3)


def test_the_least_deviation_is_a_share_of_the_others():
    np.testing.assert_allclose(deviations(tf.constant([4.0, 0.0])), [2.0, np.sqrt(2 * LEAST_VARIANCE)], rtol=1e-6)
    np.testing.assert_array_equal(deviations(tf.zeros([3])), np.ones(3))


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_have_the_statistics_and_the_update_of_the_whole_batch(replicas, mirrored):
    want_head, want = build()
    for h, labels in batches():
        want.train(tf.constant(h), tf.constant(labels))
    strategy = mirrored(replicas)
    with strategy.scope():
        head, online = build()
    data = tf.data.Dataset.from_generator(
        lambda: (part for h, y in batches() for part in zip(np.split(h, replicas), np.split(y, replicas), strict=True)),
        output_signature=(tf.TensorSpec([N // replicas, WIDTH]), tf.TensorSpec([N // replicas], tf.int64)),
    )
    step = tf.function(lambda batch: strategy.run(online.train, batch))
    for batch in strategy.distribute_datasets_from_function(lambda context: data):
        step(batch)
    got = {path: raw_variable(v).numpy() for path, v in online.named_state().items()}
    for path, variable in want.named_state().items():
        np.testing.assert_allclose(got[path], raw_variable(variable).numpy(), rtol=1e-4, atol=1e-5, err_msg=path)
    for ours, theirs in zip(dense_of(head), dense_of(want_head), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_rate_rises_stays_and_falls():
    def rates(**change):
        lengths = {"images": 128, "warmup_steps": 10, "train_steps": 100} | change
        return [float(learning_rate(tf.constant(step, tf.int64), **lengths)) for step in (0, 5, 10, 70, 85, 100)]

    np.testing.assert_allclose(rates(), [0, 0.15, 0.3, 0.3, 0.15, 0], atol=1e-6)
    np.testing.assert_allclose([rates(images=n)[2] for n in (32, 4096)], [0.075, 0.3], rtol=1e-6)
    assert rates(warmup_steps=0)[0] == np.float32(0.3)


def test_how_many_images_are_seen_as_they_are():
    assert [plain_images(batch) for batch in (16, 128, 256, 512, 4096)] == [16, 128, 128, 128, 1024]
