"""Nearest neighbours against the whole sorted matrix, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tests.index.indexes import an_index, random_features
from tf_simclr.index import neighbours
from tf_simclr.index.neighbours import all_nearest, nearest, nearest_in


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [7, 100, 1 << 16])
@pytest.mark.parametrize("k", [1, 5, 90])
def test_the_nearest_are_those_of_the_sorted_matrix(tmp_path, monkeypatch, block, k):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    features, queries = random_features(90), unit(random_features(4, seed=1))
    rows, similarities = nearest(an_index(tmp_path, features), queries, k)
    matrix = queries.astype(np.float64) @ unit(features.astype(np.float64)).T
    np.testing.assert_array_equal(rows, np.argsort(-matrix, axis=1)[:, :k])
    np.testing.assert_allclose(similarities, -np.sort(-matrix, axis=1)[:, :k], atol=1e-6)


def test_the_nearest_of_many_are_scikit_learn_s(tmp_path):
    """Enough rows that chunks are passed over."""
    features, queries = random_features(6000, 16), unit(random_features(3, 16, seed=1))
    found = NearestNeighbors(n_neighbors=9, metric="cosine", algorithm="brute").fit(features).kneighbors(queries)
    rows, similarities = nearest(an_index(tmp_path, features), queries, 9)
    np.testing.assert_array_equal(rows, found[1])
    np.testing.assert_allclose(1 - similarities, found[0], atol=1e-6)
    np.testing.assert_array_equal(nearest_in(unit(features), queries, 9)[0], rows)


@pytest.mark.parametrize("queries", [3, 256])
def test_a_row_is_no_neighbour_of_its_own(tmp_path, monkeypatch, queries):
    monkeypatch.setattr(neighbours, "_QUERIES", queries)
    features = random_features(20)
    rows, _ = all_nearest(an_index(tmp_path, features), 30)
    assert rows.shape == (20, 19)
    matrix = unit(features) @ unit(features).T
    np.fill_diagonal(matrix, -2)
    np.testing.assert_array_equal(rows, np.argsort(-matrix, axis=1)[:, :19])


def test_each_of_many_copies_has_another_as_its_neighbour(tmp_path):
    rows, similarities = all_nearest(an_index(tmp_path, np.ones([12, 4], np.float32)), 3)
    assert all(own not in found for own, found in enumerate(rows.tolist()))
    np.testing.assert_allclose(similarities, 1, atol=1e-6)
