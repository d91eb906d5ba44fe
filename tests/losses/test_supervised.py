from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.losses.supervised import accuracy, cross_entropy, top_k_hits


def test_cross_entropy_by_hand():
    logits = tf.constant([[0.0, 0.0], [math.log(3.0), 0.0]])
    assert float(cross_entropy(logits, tf.constant([0, 1]))) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_cross_entropy_equals_numpy():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 5)), rng.integers(0, 5, 9)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(9), labels]).mean()
    assert float(cross_entropy(tf.constant(logits), tf.constant(labels))) == pytest.approx(expected, rel=1e-5)


def test_examples_without_a_label_count_nothing():
    logits = tf.constant([[0.0, math.log(3.0)], [5.0, 1.0], [0.0, 0.0]])
    labels = tf.constant([1, -1, -1])
    assert float(cross_entropy(logits, labels)) == pytest.approx(math.log(4 / 3))
    assert float(accuracy(logits, labels)) == 1.0
    assert float(cross_entropy(logits, -tf.ones(3, tf.int32))) == 0.0


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_equals_sorting(k):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(40, 7)), rng.integers(0, 7, 40)
    expected = [label in np.argsort(-row)[:k] for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_array_equal(top_k_hits(tf.constant(logits), tf.constant(labels), k), expected)


def test_ties_and_nan_are_not_called_right():
    logits = tf.constant([[1.0, 1.0, 0.0], [math.nan] * 3])
    labels = tf.constant([0, 0])
    np.testing.assert_array_equal(top_k_hits(logits, labels, 1), [0.0, 0.0])
    np.testing.assert_array_equal(top_k_hits(logits, labels, 2), [1.0, 0.0])
