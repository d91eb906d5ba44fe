"""The distillation loss against the formula, against relative entropy plus entropy, and at its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.losses.distillation import label_cross_entropy, soft_cross_entropy, weighted_loss
from tf_simclr.losses.supervised import cross_entropy

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(scale=2.0, size=(2, 7, 5))
LABELS = RNG.integers(0, 5, 7)


def probabilities(logits, temperature):
    p = np.exp(logits / temperature)
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_the_loss_is_the_papers_formula(temperature):
    wanted, found = (probabilities(logits, temperature) for logits in (TEACHER, STUDENT))
    expected = -np.mean([np.sum(rows[0] * np.log(rows[1])) for rows in zip(wanted, found, strict=True)])
    got = soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER), temperature=temperature)
    assert got.dtype == tf.float32 and float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_it_is_relative_entropy_plus_the_entropy_of_the_teacher(temperature):
    """The second oracle, of Keras and of the entropy alone."""
    wanted, found = (tf.nn.softmax(logits / temperature) for logits in (TEACHER, STUDENT))
    divergence = tf.reduce_mean(tf.keras.losses.KLDivergence(reduction="sum")(wanted, found)) / 7
    entropy = -np.mean(np.sum(wanted * np.log(wanted), axis=1))
    got = soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER), temperature=temperature)
    assert float(got) == pytest.approx(float(divergence) + entropy, rel=1e-5)
    own = soft_cross_entropy(tf.constant(TEACHER), tf.constant(TEACHER), temperature=temperature)
    assert float(own) == pytest.approx(entropy, rel=1e-5) and float(own) < float(got)


def test_a_tiny_case_by_hand():
    teacher, student = tf.constant([[math.log(3.0), 0.0]]), tf.constant([[0.0, 0.0]])
    assert float(soft_cross_entropy(student, teacher)) == pytest.approx(math.log(2))
    student = tf.constant([[0.0, math.log(3.0)]])
    expected = 0.75 * math.log(4) + 0.25 * math.log(4 / 3)
    assert float(soft_cross_entropy(student, teacher)) == pytest.approx(expected)


def test_the_gradient_is_the_difference_of_the_probabilities():
    """And none reaches the teacher; finite differences agree."""
    student, teacher, temperature = tf.Variable(STUDENT, dtype=tf.float32), tf.Variable(TEACHER, dtype=tf.float32), 2.0
    with tf.GradientTape() as tape:
        loss = soft_cross_entropy(student, teacher, temperature=temperature)
    gradient, none = tape.gradient(loss, [student, teacher])
    assert none is None
    expected = (probabilities(STUDENT, temperature) - probabilities(TEACHER, temperature)) / (7 * temperature)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)

    def numpy_loss(logits):
        wanted = probabilities(TEACHER, temperature)
        return -np.mean(np.sum(wanted * np.log(probabilities(logits, temperature)), axis=1))

    step = np.zeros_like(STUDENT)
    step[3, 2] = 1e-5
    slope = (numpy_loss(STUDENT + step) - numpy_loss(STUDENT - step)) / 2e-5
    assert float(gradient[3, 2]) == pytest.approx(slope, rel=1e-3)


def test_a_high_temperature_asks_for_equal_probabilities():
    got = soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER), temperature=1e6)
    assert float(got) == pytest.approx(math.log(5), rel=1e-5)


def test_a_low_temperature_is_the_cross_entropy_with_the_teachers_choice():
    teacher = np.where(np.eye(5)[TEACHER.argmax(axis=1)] > 0, 10.0, 0.0)
    got = soft_cross_entropy(tf.constant(STUDENT * 0.01), tf.constant(teacher), temperature=0.01)
    assert float(got) == pytest.approx(float(cross_entropy(STUDENT, TEACHER.argmax(axis=1))), rel=1e-5)


def mixed(labels, alpha):
    distilled = soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER))
    return float(weighted_loss(distilled, label_cross_entropy(tf.constant(STUDENT), tf.constant(labels)), alpha=alpha))


def test_alpha_weighs_teacher_and_labels():
    distilled = float(soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER)))
    supervised = float(cross_entropy(tf.constant(STUDENT), tf.constant(LABELS)))
    assert mixed(LABELS, 0.0) == supervised
    assert mixed(LABELS, 1.0) == mixed((LABELS + 1) % 5, 1.0) == distilled
    assert mixed(LABELS, 0.25) == pytest.approx(0.75 * supervised + 0.25 * distilled, rel=1e-6)
    assert float(weighted_loss(tf.constant(2.0), None)) == 2.0


def test_images_without_a_label_count_in_the_mean_alone():
    """So that parts of a batch add up, wherever the labelled images are."""
    some = np.where(np.arange(7) < 3, LABELS, -1)
    per_image = [float(cross_entropy(STUDENT[i : i + 1], LABELS[i : i + 1])) for i in range(3)]
    whole = float(label_cross_entropy(tf.constant(STUDENT), tf.constant(some)))
    assert whole == pytest.approx(sum(per_image) / 7, rel=1e-6)
    parts = [float(label_cross_entropy(tf.constant(STUDENT[rows]), tf.constant(some[rows]))) for rows in ([0, 4], [1])]
    assert parts[0] == pytest.approx(per_image[0] / 2) and parts[1] == pytest.approx(per_image[1])
    assert float(label_cross_entropy(tf.constant(STUDENT), -tf.ones(7, tf.int64))) == 0.0


def test_half_precision_is_computed_in_float32():
    halves = [tf.cast(logits, tf.float16) for logits in (STUDENT, TEACHER)]
    exact = soft_cross_entropy(*(tf.cast(logits, tf.float32) for logits in halves), temperature=0.1)
    assert float(soft_cross_entropy(*halves, temperature=0.1)) == float(exact)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_cannot_work(temperature):
    with pytest.raises(InputError, match="temperature"):
        soft_cross_entropy(tf.constant(STUDENT), tf.constant(TEACHER), temperature=temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_a_weight_that_cannot_work(alpha):
    with pytest.raises(InputError, match="alpha"):
        weighted_loss(tf.constant(1.0), tf.constant(1.0), alpha=alpha)
