from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.knn import knn_accuracies, knn_votes, nearest


def features(rows, dimensions=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


def knn_predictions(*arrays, **settings):
    """The class of each query, for every (k, T)."""
    return {setting: vote.classes for setting, vote in knn_votes(*arrays, **settings).items()}


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def naive_prediction(query, gallery, labels, k, t, classes):
    """The protocol neighbour by neighbour."""
    ranked = sorted(range(len(gallery)), key=lambda i: -cosine(query, gallery[i]))[:k]
    votes = [0.0] * classes
    for i in ranked:
        votes[labels[i]] += math.exp(cosine(query, gallery[i]) / t)
    return votes.index(max(votes))


@pytest.mark.parametrize("memory_bytes", [1, 3000, 2**28])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_nearest_equals_scikit_learn(k, memory_bytes):
    queries, gallery = features(23), features(40, seed=1)
    distances, indices = (
        NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
        .fit(gallery.astype(np.float64))
        .kneighbors(queries.astype(np.float64))
    )
    found = nearest(queries, gallery, k, memory_bytes=memory_bytes)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-8)


def test_nearest_by_hand():
    gallery = [[0, 2], [3, 0], [-1, 0], [5, 5]]
    found = nearest([[1.0, 0.0]], gallery, 4)
    assert found.indices.tolist() == [[1, 3, 0, 2]]
    np.testing.assert_allclose(found.similarities, [[1, math.sqrt(0.5), 0, -1]], atol=1e-9)


@pytest.mark.parametrize("memory_bytes", [1, 2000, 2**28])
def test_equally_similar_rows_come_in_the_order_of_the_gallery(memory_bytes):
    rows = features(3, 16)
    rng = np.random.default_rng(2)
    # The lengths tell nothing, but leave each row another rounding error.
    gallery = rows[rng.integers(0, 3, 50)] * rng.uniform(0.1, 10, [50, 1])
    found = nearest(rows, gallery, 20, memory_bytes=memory_bytes)
    for query, indices in zip(rows, found.indices, strict=True):
        expected = sorted(range(50), key=lambda i: (-round(cosine(query, gallery[i]), 5), i))[:20]
        assert indices.tolist() == expected


@pytest.mark.parametrize("k,t", [(1, 0.1), (5, 0.1), (5, 1.0), (30, 0.07), (60, 10.0)])
def test_predictions_equal_the_protocol_neighbour_by_neighbour(k, t):
    queries, gallery = features(31), features(60, seed=1)
    labels = np.random.default_rng(3).integers(0, 4, 60)
    got = knn_predictions(queries, gallery, labels, ks=(1, 5, 30, 60), temperatures=(0.07, 0.1, 1.0, 10.0))
    assert got[k, t].tolist() == [naive_prediction(q, gallery, labels, k, t, 4) for q in queries]


def test_predictions_equal_scikit_learn_with_the_same_weights():
    queries, gallery = features(31), features(60, seed=1)
    labels = np.random.default_rng(3).integers(0, 4, 60)
    model = KNeighborsClassifier(15, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.1))
    expected = model.fit(gallery, labels).predict(queries)
    got = knn_predictions(queries, gallery, labels, ks=(15,), temperatures=(0.1,))
    np.testing.assert_array_equal(got[15, 0.1], expected)


def test_a_vote_by_hand():
    """Cosines 1 (class 1), 0.6 and 0.6 (class 0): at T = 1 the two win, 2 exp(0.6) > e; at T = 0.1 the nearest one."""
    gallery, labels = [[1, 0], [3, 4], [3, -4]], [1, 0, 0]
    got = knn_predictions([[2, 0]], gallery, labels, ks=(1, 3), temperatures=(0.1, 1.0))
    assert {setting: p.tolist() for setting, p in got.items()} == {
        (1, 0.1): [1],
        (1, 1.0): [1],
        (3, 0.1): [1],
        (3, 1.0): [0],
    }


def test_equal_votes_go_to_the_lower_class():
    got = knn_predictions([[1, 0]], [[1, 1], [1, -1]], [2, 1], ks=(2,), num_classes=5)
    assert got[2, 0.1].tolist() == [1]


def test_a_tiny_temperature_stays_finite():
    with np.errstate(over="raise", invalid="raise"):
        got = knn_predictions(features(9), features(20, seed=1), np.arange(20), ks=(20,), temperatures=(1e-5,))
    np.testing.assert_array_equal(got[20, 1e-5], nearest(features(9), features(20, seed=1), 1).indices[:, 0])


def test_one_pass_equals_one_setting_at_a_time_in_any_blocks():
    queries, gallery, labels = features(30), features(50, seed=1), np.arange(50) % 7
    truth = np.arange(30) % 7
    together = knn_accuracies(queries, truth, gallery, labels, ks=(9, 2), temperatures=(1.0, 0.1))
    for (k, t), accuracy in together.items():
        alone = knn_predictions(queries, gallery, labels, ks=(k,), temperatures=(t,))[k, t]
        assert accuracy == np.mean(alone == truth)
        small = knn_predictions(queries, gallery, labels, ks=(9, 2), temperatures=(1.0, 0.1), memory_bytes=4000)
        np.testing.assert_array_equal(small[k, t], alone)
    assert len(together) == 4


def test_zero_rows_are_similar_to_nothing():
    found = nearest([[0.0, 0.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 0.0]], 2)
    assert found.indices.tolist() == [[0, 1], [1, 0]]
    assert found.similarities.tolist() == [[0, 0], [0, -1]]


def test_extreme_scales_keep_their_direction():
    rows = features(12).astype(np.float64)
    expected = nearest(rows, rows, 5)
    np.testing.assert_array_equal(nearest(rows * 1e-200, rows * 1e200, 5).indices, expected.indices)


def test_memory_mapped_features_stay_within_the_bound(tmp_path):
    rows = features(4000, 8)
    np.save(tmp_path / "gallery.npy", rows)
    gallery = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    queries, bound = features(512, 8, seed=1), 2**20  # the whole matrix of similarities would be 16 times the bound
    nearest(queries[:2], gallery[:20], 10, memory_bytes=bound)  # what NumPy loads when it is first used
    tracemalloc.start()
    found = nearest(queries, gallery, 10, memory_bytes=bound)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = 2 * (found.indices.nbytes + found.similarities.nbytes)  # in blocks, and then in one piece
    assert peak < bound + result
    np.testing.assert_array_equal(found.indices, nearest(queries, rows, 10).indices)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"ks": (11,)}, "at most the gallery's 10"),
        ({"ks": (0, 3)}, "`k` must be >= 1"),
        ({"ks": ()}, "must not be empty"),
        ({"temperatures": (0.1, 0.0)}, "`temperature` must be > 0"),
        ({"queries": np.zeros([3, 4])}, "same dimensions"),
        ({"queries": np.zeros(5)}, "must be a matrix"),
        ({"queries": np.array([["a"] * 5])}, "real numbers"),
        ({"gallery_labels": np.zeros(9, int)}, "9 for 10 examples"),
        ({"gallery_labels": np.full(10, -1)}, "without a label"),
        ({"gallery_labels": np.zeros(10)}, "class numbers"),
        ({"num_classes": 3}, "below the number of classes, 3"),
        ({"gallery": np.full([10, 5], np.nan)}, "`gallery` must be finite. Received: NaN or infinity in row 0"),
        ({"memory_bytes": 0}, "`memory_bytes` must be >= 1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"queries": features(3), "gallery": features(10), "gallery_labels": np.arange(10) % 4, "ks": (2,)}
    with pytest.raises(InputError, match=message):
        knn_predictions(**{**arguments, **change})


def test_the_row_that_is_not_finite_is_named_in_any_block():
    gallery = features(10)
    gallery[7, 2] = np.inf
    with pytest.raises(InputError, match="row 7"):
        nearest(features(3), gallery, 2, memory_bytes=1)


@pytest.mark.parametrize("memory_bytes", [1, 2**28])
def test_the_share_of_the_votes_that_the_winner_has(memory_bytes):
    queries, gallery, labels = features(9), features(30, seed=1), np.arange(30) % 4
    votes = knn_votes(queries, gallery, labels, ks=[5], temperatures=[0.3], num_classes=4, memory_bytes=memory_bytes)
    for number, query in enumerate(queries):
        ranked = sorted(range(30), key=lambda i, query=query: -cosine(query, gallery[i]))[:5]
        weights = [math.exp(cosine(query, gallery[i]) / 0.3) for i in ranked]
        by_class = [sum(w for w, i in zip(weights, ranked, strict=True) if labels[i] == c) for c in range(4)]
        assert votes[5, 0.3].classes[number] == np.argmax(by_class)
        assert votes[5, 0.3].shares[number] == pytest.approx(max(by_class) / sum(weights), rel=1e-5)


def test_the_usual_settings_are_those_of_the_protocol():
    rows, labels = features(201), np.arange(201) % 3
    assert list(knn_accuracies(rows[:2], labels[:2], rows, labels)) == [(200, 0.1)]
