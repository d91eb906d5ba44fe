"""Maps of images: similar ones close to each other, computed once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.index.indexes import an_index, random_features
from tf_simclr.errors import InputError
from tf_simclr.index import image_map as module
from tf_simclr.index.image_map import image_map


def two_kinds(n, d=8):
    """Features around two directions, and which of them each is of."""
    kinds = np.arange(n) % 2
    features = np.eye(d)[kinds] + np.random.default_rng(0).normal(scale=0.05, size=[n, d])
    return features.astype(np.float32), kinds


def apart(places, kinds):
    """How far the centres of the two kinds lie from each other, in lengths of how far a kind reaches."""
    centres = [places[kinds == kind].mean(axis=0) for kind in (0, 1)]
    reach = max(np.linalg.norm(places[kinds == kind] - centres[kind], axis=1).mean() for kind in (0, 1))
    return np.linalg.norm(centres[0] - centres[1]) / reach


def test_principal_components_are_those_of_the_singular_value_decomposition(tmp_path):
    index = an_index(tmp_path, random_features(200) * np.linspace(3, 1, 8, dtype=np.float32))
    places = image_map(index, "pca").places
    rows = index.normalised(np.arange(200)).astype(np.float64)
    _, _, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    expected = (rows - rows.mean(axis=0)) @ directions[:2].T
    assert places.dtype == np.float32
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-5)


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_similar_images_lie_together(tmp_path, method):
    if method == "umap":
        pytest.importorskip("umap", reason="umap-learn is not installed")
    features, kinds = two_kinds(80)
    drawn = image_map(an_index(tmp_path, features), method)
    assert drawn.method == method and apart(drawn.places, kinds) > 4


def test_a_map_is_computed_once_and_again_when_the_index_has_changed(tmp_path):
    lines = []
    first = image_map(an_index(tmp_path, random_features(60)), "pca", lines.append)
    assert len(lines) == 1 and "60 images by pca" in lines[0]
    index = an_index(tmp_path, random_features(60))
    np.testing.assert_array_equal(image_map(index, "pca", lines.append).places, first.places)
    assert len(lines) == 1
    image_map(an_index(tmp_path, random_features(61)), "pca", lines.append)
    assert len(lines) == 2 and len(list(tmp_path.glob("map-*"))) == 1
    image_map(an_index(tmp_path, random_features(61), network="1" * 64), "pca", lines.append)
    assert len(lines) == 3 and len(list(tmp_path.glob("map-*"))) == 1


@pytest.mark.parametrize("content", [b"", b"no array", "short"])
def test_a_damaged_map_is_computed_again(tmp_path, content):
    index = an_index(tmp_path, random_features(60))
    first = image_map(index, "pca").places
    (path,) = tmp_path.glob("map-*.pca.npy")
    if content == "short":
        np.save(path, first[1:])
    else:
        path.write_bytes(content)
    np.testing.assert_array_equal(image_map(index, "pca").places, first)
    np.testing.assert_array_equal(np.load(path), first)


@pytest.mark.parametrize(("n", "d"), [(1, 8), (2, 8), (5, 1), (49, 2)])
def test_few_images_and_few_numbers_have_a_map_too(tmp_path, n, d):
    drawn = image_map(an_index(tmp_path, random_features(n, d)))
    assert drawn.places.shape == (n, 2) and np.isfinite(drawn.places).all() and drawn.method == "pca"


def test_equal_images_and_empty_features_have_a_map_too(tmp_path):
    assert np.isfinite(image_map(an_index(tmp_path, np.zeros([60, 4], np.float32)), "pca").places).all()


def test_without_umap_auto_is_pca_and_umap_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "umap", lambda: None)
    index = an_index(tmp_path, random_features(60))
    assert image_map(index).method == "pca"
    with pytest.raises(InputError, match=r"umap-learn. Received: map=umap. Install it: pip install umap-learn"):
        image_map(index, "umap")


def test_a_map_that_cannot_be_kept_costs_the_next_start_only(tmp_path):
    """A folder has taken its place."""
    index, lines = an_index(tmp_path, random_features(60)), []
    image_map(index, "pca")
    (path,) = tmp_path.glob("map-*")
    path.unlink()
    path.mkdir()
    assert image_map(index, "pca", lines.append).places.shape == (60, 2)
    assert "cannot be kept for the next start" in lines[-1] and not list(tmp_path.glob("*.tmp"))
