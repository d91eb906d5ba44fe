"""A large index is searched by bounds: exactly the rows that a pass over all features finds."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.index.indexes import an_index, random_features
from tf_simclr.index import writing
from tf_simclr.index.coarse import DIRECTIONS
from tf_simclr.index.neighbours import nearest, nearest_in
from tf_simclr.index.store import open_index

D = 2 * DIRECTIONS


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(writing, "COARSE_FROM", 1000)


def of_few_directions(n=4000, noise=0.02, dtype=np.float32, seed=0):
    """Features that vary as those of a trained network: a few directions hold nearly all."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=[12, D])
    features = generator.gamma(1.0, size=[n, 12]) @ directions / 12 + generator.normal(scale=noise, size=[n, D])
    features[10] = 0
    features[20:40] = features[20]  # copies, at equal similarity
    return features.astype(dtype)


def by_hand(features, query, k):
    unit = features.astype(np.float64)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    similarities = (unit / np.where(length > 0, length, 1)) @ query.astype(np.float64)
    return similarities, np.sort(similarities)[::-1][:k]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("k", [1, 10, 1500])
def test_the_nearest_are_those_of_a_whole_pass(tmp_path, dtype, k):
    features = of_few_directions(dtype=dtype)
    an_index(tmp_path, features)
    index = open_index(str(tmp_path))
    assert index.coarse is not None
    rows = np.array([0, 10, 25, 3999])
    queries = np.concatenate([index.normalised(rows)[[0, 2, 3]], random_features(3, D, seed=1)])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found, similarities = nearest(index, queries, k)
    unit = features.astype(np.float32) / index.norms[:, np.newaxis]
    _, whole = nearest_in(unit, queries, k)
    np.testing.assert_allclose(similarities, whole, atol=2e-6)
    for query, own, values in zip(queries, found, similarities, strict=True):
        expected, best = by_hand(features, query, k)
        np.testing.assert_allclose(values, best, atol=2e-6)
        np.testing.assert_allclose(expected[own], values, atol=2e-6)
        assert len(set(own.tolist())) == k


def test_copies_come_in_the_order_of_their_rows(tmp_path):
    an_index(tmp_path, of_few_directions())
    index = open_index(str(tmp_path))
    found, _ = nearest(index, index.normalised(np.array([30])), 20)
    assert found[0].tolist() == list(range(20, 40))


def test_few_features_are_read(tmp_path):
    """Else it would be right, and no faster."""
    an_index(tmp_path, of_few_directions(20_000, noise=0.005))
    index = open_index(str(tmp_path))
    read = []

    class Counted:
        def __getitem__(self, rows):
            read.append(len(rows))
            return index.features[rows]

    for query in index.normalised(np.arange(100, 110)):
        assert index.coarse.nearest(Counted(), query, 10) is not None
    assert np.mean(read) < 1500


def test_features_without_main_directions_are_searched_row_by_row(tmp_path):
    an_index(tmp_path, random_features(1200, D))
    index = open_index(str(tmp_path))
    assert index.coarse is None and not [name for name in os.listdir(tmp_path) if name.startswith("bounds")]


def test_queries_that_bounds_do_not_help_are_compared_with_every_row(tmp_path):
    features = of_few_directions(noise=0.2)
    an_index(tmp_path, features)
    index = open_index(str(tmp_path))
    query = random_features(1, D, seed=2)
    query /= np.linalg.norm(query)
    if index.coarse is not None:
        assert index.coarse.nearest(index.features, query[0], 5) is None
    _, similarities = nearest(index, query, 5)
    _, best = by_hand(features, query[0], 5)
    np.testing.assert_allclose(similarities[0], best, atol=2e-6)


def test_an_index_that_is_written_again_keeps_its_own_files_alone(tmp_path):
    an_index(tmp_path, of_few_directions())
    an_index(tmp_path, of_few_directions(3000, seed=1), dtype="float32")
    kinds = sorted(name.partition("-")[0] for name in os.listdir(tmp_path))
    assert kinds == ["basis", "bounds", "features", "index.json", "rows"]
    an_index(tmp_path, random_features(5))
    assert sorted(name.partition("-")[0] for name in os.listdir(tmp_path)) == ["features", "index.json", "rows"]
