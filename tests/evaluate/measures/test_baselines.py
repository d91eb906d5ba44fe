"""Figures of classifiers that do not look at the image, by hand and by predictions that are made."""

from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate.measures import metrics
from tf_simclr.evaluate.measures.baselines import baselines, multi_label_baselines


def test_by_hand():
    """Class 1 is the largest of the training split, and 1 of 4 test images has it."""
    found = baselines(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), 3)
    assert found.largest == 1
    assert found.metrics == {
        "largest class": {"top_1": 0.25, "mean_per_class": pytest.approx(1 / 3)},
        "chance": {"top_1": pytest.approx(1 / 3), "mean_per_class": pytest.approx(1 / 3)},
    }


def test_they_are_the_figures_of_what_they_predict():
    rng = np.random.default_rng(0)
    train, test = rng.choice(8, 300, p=[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]), rng.integers(0, 7, 200)
    found = baselines(train, test, 8)
    sizes = np.bincount(train, minlength=8)
    always = np.full(200, sizes.argmax())
    largest = found.metrics["largest class"]
    assert largest["top_1"] == metrics.accuracy(always, test)
    assert largest["mean_per_class"] == metrics.mean_per_class_accuracy(always, test, 8, missing="exclude")
    scores = np.tile(sizes - np.arange(8) / 100, (200, 1))
    assert largest["top_5"] == pytest.approx(metrics.top_k_accuracy(scores, test, 5))
    guesses = rng.integers(0, 8, (4000, 200))
    assert found.metrics["chance"]["top_1"] == pytest.approx(np.mean(guesses == test), abs=0.005)
    assert found.metrics["chance"]["top_5"] == 5 / 8


def test_a_largest_class_that_the_test_split_does_not_have():
    assert baselines(np.array([2, 2, 0]), np.array([0, 1]), 3).metrics["largest class"]["mean_per_class"] == 0


def test_several_classes_an_image():
    """Equal scores rank nothing: the average precision is the share of images that show the class."""
    positives = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    found = multi_label_baselines(MultiLabel(positives, np.zeros_like(positives)))
    assert found.largest is None and found.metrics == {"chance": {"map_11_point": 0.375}}
