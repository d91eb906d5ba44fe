"""Standardised features, against scikit-learn's scaler and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import standardise
from tf_simclr.evaluate.measures.standardise import Standardiser


def features_of(rows, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal([5.0, -1.0, 0.01], [0.1, 3.0, 1e-5], (rows, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_scikit_learns_scaler(dtype):
    train, test = features_of(400, dtype=dtype), features_of(7, 1, dtype)
    ours, theirs = Standardiser.of(train), StandardScaler().fit(train.astype(np.float64))
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-9)
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-6)
    assert ours(test).dtype == dtype
    np.testing.assert_allclose(ours(test), theirs.transform(test.astype(np.float64)), atol=2e-4)


def test_one_column_by_hand():
    """Mean 3, deviation 2."""
    np.testing.assert_allclose(Standardiser.of([[1.0], [5.0]])(np.array([[3.0], [9.0]])), [[0], [3]])


@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1])
def test_what_never_varies_becomes_zero_and_is_not_blown_up(constant):
    train = np.full((50, 2), constant, np.float32)
    train[:, 1] = np.arange(50)
    scaled = Standardiser.of(train)
    np.testing.assert_allclose(scaled(train)[:, 0], 0, atol=1e-6)
    assert scaled(np.array([[constant + 1, 0]], np.float32))[0, 0] == pytest.approx(1)


def test_blocks_of_rows_give_what_the_whole_gives(monkeypatch, tmp_path):
    train = features_of(50)
    np.save(tmp_path / "features.npy", train)
    whole = Standardiser.of(train)
    monkeypatch.setattr(standardise, "_BLOCK_ROWS", 7)
    blocked = Standardiser.of(np.load(tmp_path / "features.npy", mmap_mode="r"))
    np.testing.assert_allclose(blocked.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(blocked.scale, whole.scale, rtol=1e-9)


def test_folded_weights_say_of_features_what_the_others_say_of_standardised_ones():
    train = features_of(60, dtype=np.float64)
    scaled, rng = Standardiser.of(train), np.random.default_rng(2)
    weights, biases = rng.normal(size=(4, 3)), rng.normal(size=4)
    plain, moved = scaled.folded(weights, biases)
    np.testing.assert_allclose(train @ plain.T + moved, scaled(train) @ weights.T + biases, atol=1e-8)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_its_row(value):
    train = features_of(5000)
    train[4321, 1] = value
    with pytest.raises(InputError, match=r"`features` must be finite.*row 4321"):
        Standardiser.of(train)
