from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.metrics import (
    SeedSummary,
    accuracy,
    average_precisions,
    confusion_matrix,
    mean_average_precision,
    mean_per_class_accuracy,
    over_seeds,
    per_class_accuracy,
    top_k_accuracy,
)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return rng.integers(0, 5, 80), rng.integers(0, 5, 80)


def test_accuracies_equal_scikit_learn(drawn):
    predictions, labels = drawn
    assert accuracy(predictions, labels) == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
    balanced = sklearn_metrics.balanced_accuracy_score(labels, predictions)
    assert mean_per_class_accuracy(predictions, labels, 5) == pytest.approx(balanced)
    recalls = sklearn_metrics.recall_score(labels, predictions, average=None)
    assert list(per_class_accuracy(predictions, labels, 5).values()) == pytest.approx(recalls.tolist())


def test_confusion_matrix_equals_scikit_learn(drawn):
    predictions, labels = drawn
    matrix = confusion_matrix(predictions, labels, 6)
    np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(labels, predictions, labels=range(6)))
    assert matrix.dtype == np.int64


def test_by_hand():
    """Three images of class 0, two of them found; one of class 1, taken for class 0."""
    predictions, labels = [0, 0, 1, 0], [0, 0, 0, 1]
    assert accuracy(predictions, labels) == 0.5
    assert confusion_matrix(predictions, labels, 2).tolist() == [[2, 1], [1, 0]]
    assert per_class_accuracy(predictions, labels, 2) == {0: pytest.approx(2 / 3), 1: 0.0}
    assert mean_per_class_accuracy(predictions, labels, 2) == pytest.approx(1 / 3)


def test_a_class_that_is_missing_is_an_error_or_left_out():
    with pytest.raises(InputError, match=r"1 class.*: 2\. Take"):
        mean_per_class_accuracy([0, 2], [0, 1], 3)
    assert per_class_accuracy([0, 2], [0, 1], 3, missing="exclude") == {0: 1.0, 1: 0.0}
    assert mean_per_class_accuracy([0, 2], [0, 1], 3, missing="exclude") == 0.5
    with pytest.raises(InputError, match="error, exclude"):
        mean_per_class_accuracy([0, 1], [0, 1], 2, missing="skip")
    with pytest.raises(InputError, match=r"19 class.*: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\."):
        per_class_accuracy([0], [0], 20)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_equals_scikit_learn(k):
    rng = np.random.default_rng(1)
    scores, labels = rng.permuted(np.tile(np.arange(7.0), (50, 1)), axis=1), np.arange(50) % 7
    expected = sklearn_metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(7)) if k < 7 else 1.0
    assert top_k_accuracy(scores, labels, k) == pytest.approx(expected)


def test_top_k_is_pessimistic_about_ties():
    scores = [[1.0, 1.0, 0.0]] * 3
    assert top_k_accuracy(scores, [0, 1, 2], 1) == 0.0
    assert top_k_accuracy(scores, [0, 1, 2], 2) == pytest.approx(2 / 3)
    assert top_k_accuracy(scores, [0, 1, 2], 3) == 1.0
    assert top_k_accuracy(np.zeros([4, 3]), [0, 1, 2, 0], 2) == 0.0


def naive_11_point(scores, positives):
    """The text of VOC2007, threshold by threshold: recalls as fractions of whole numbers."""
    points = []
    for threshold in set(scores):
        taken = [p for s, p in zip(scores, positives, strict=True) if s >= threshold]
        points.append((sum(taken), sum(taken) / len(taken)))
    total = sum(positives)
    return sum(max(p for hits, p in points if 10 * hits >= r * total) for r in range(11)) / 11


def average_precision_11_point(scores, positives, ignored=None):
    """Of one class."""
    column = {} if ignored is None else {"ignored": np.asarray(ignored)[:, np.newaxis]}
    return average_precisions(np.asarray(scores)[:, np.newaxis], np.asarray(positives)[:, np.newaxis], **column)[0]


def test_average_precision_by_hand():
    """Ranked + - + - -  +: precisions 1, 2/3 and 1/2 at recalls 1/3, 2/3 and 1.

    Recalls 0 to 0.3 (four points) take 1, 0.4 to 0.6 (three) 2/3, and 0.7 to 1 (four) 1/2.
    """
    scores, positives = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 0, 0, 1]
    assert average_precision_11_point(scores, positives) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11)


def test_ten_positives_reach_every_step_exactly():
    """Ranked + - + - +: the j-th of 10 positives has precision j / (2j - 1) and recall j / 10, which floats miss."""
    positives = [1] + [0, 1] * 9
    expected = (1 + sum(j / (2 * j - 1) for j in range(1, 11))) / 11
    assert average_precision_11_point(-np.arange(19.0), positives) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_the_definition_also_with_ties(levels, seed):
    rng = np.random.default_rng(seed)
    scores, positives = rng.integers(0, levels, 37) / levels, rng.random(37) < 0.3
    positives[0] = True
    expected = naive_11_point(scores.tolist(), positives.tolist())
    assert average_precision_11_point(scores, positives) == pytest.approx(expected)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(positives, scores)
    precision, recall = precision[:-1], recall[:-1]  # the last point is no threshold
    from_curve = np.mean([precision[recall >= r - 1e-9].max() for r in np.arange(11) / 10])
    assert average_precision_11_point(scores, positives) == pytest.approx(from_curve)


def test_equal_scores_give_the_share_of_positives_in_any_order():
    assert average_precision_11_point(np.zeros(4), [1, 0, 0, 0]) == 0.25
    assert average_precision_11_point(np.zeros(4), [0, 0, 0, 1]) == 0.25


def test_scores_of_any_number_type_rank_alike():
    positives = [0, 1, 0]
    for dtype in (np.uint8, np.int32, np.float16, np.float64):
        assert average_precision_11_point(np.array([0, 1, 2], dtype), positives) == 0.5


def test_a_perfect_and_the_worst_ranking():
    assert average_precision_11_point([3, 2, 1], [True, True, False]) == 1.0
    assert average_precision_11_point([1, 2, 3], [True, False, False]) == pytest.approx(1 / 3)


def test_ignored_examples_count_neither_as_right_nor_as_wrong():
    scores, positives = [4.0, 3.0, 2.0, 1.0], [0, 1, 1, 0]
    assert average_precision_11_point(scores, positives, ignored=[1, 0, 1, 0]) == 1.0
    assert average_precision_11_point(scores, positives) == pytest.approx(2 / 3)


def test_map_is_the_mean_over_classes():
    rng = np.random.default_rng(4)
    scores, positives, ignored = rng.normal(size=(30, 4)), rng.random((30, 4)) < 0.4, rng.random((30, 4)) < 0.2
    single = [
        naive_11_point(scores[~ignored[:, c], c].tolist(), positives[~ignored[:, c], c].tolist()) for c in range(4)
    ]
    assert mean_average_precision(scores, positives, ignored=ignored) == pytest.approx(np.mean(single))
    assert list(average_precisions(scores, positives, ignored=ignored).values()) == pytest.approx(single)


def test_a_class_without_positives_is_an_error_or_left_out():
    scores, positives = [[1.0, 1.0], [0.0, 0.0]], [[1, 1], [0, 0]]
    ignored = [[0, 1], [0, 0]]  # the only positive of class 1
    with pytest.raises(InputError, match=r"1 class.*: 1\. Take"):
        mean_average_precision(scores, positives, ignored=ignored)
    assert average_precisions(scores, positives, ignored=ignored, missing="exclude") == {0: 1.0}
    with pytest.raises(InputError, match="1 class"):
        average_precision_11_point([1.0, 2.0], [0, 0])
    with pytest.raises(InputError, match="2 class"):
        mean_average_precision(scores, [[0, 0], [0, 0]], missing="exclude")


def test_over_seeds():
    assert over_seeds([1.0, 2.0, 3.0, 6.0]) == SeedSummary(mean=3.0, std=pytest.approx((14 / 3) ** 0.5), runs=4)
    assert over_seeds(iter([0.5])) == SeedSummary(mean=0.5, std=None, runs=1)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: accuracy([], []), "at least one"),
        (lambda: accuracy([0], [-1]), "without a label"),
        (lambda: accuracy([0, 1], [0]), "2 for 1 examples"),
        (lambda: confusion_matrix([3], [0], 3), "`predictions` must be below the number of classes, 3"),
        (lambda: confusion_matrix([0], [0], 0), "`num_classes` must be >= 1"),
        (lambda: top_k_accuracy([[0.0, 1.0]], [0], 3), "`k` must be >= 1 and <= 2"),
        (lambda: top_k_accuracy([[0.0, np.nan]], [0], 1), "`scores` must be finite"),
        (lambda: average_precision_11_point([1.0, np.nan], [1, 0]), "`scores` must be finite"),
        (lambda: average_precision_11_point([1.0, 2.0], [1]), "`positives` must be True or False"),
        (lambda: average_precision_11_point([1.0, 2.0], [1, -1]), "`positives` must be True or False"),
        (lambda: mean_average_precision([[1.0]], [[1]], ignored=[[2]]), "`ignored` must be True or False"),
        (lambda: over_seeds([]), "at least one"),
        (lambda: over_seeds([0.5, np.nan]), "finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
