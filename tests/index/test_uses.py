"""What an index is good for: copies, outliers, clusters, choices and doubtful labels, in made-up features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.index.indexes import an_index, random_features
from tf_simclr.errors import InputError
from tf_simclr.index import duplicates
from tf_simclr.index.clusters import find_clusters
from tf_simclr.index.duplicates import EXACT, choose_threshold, groups_of_copies, histogram, nearest_similarities
from tf_simclr.index.label_errors import label_votes
from tf_simclr.index.outliers import outlier_scores
from tf_simclr.index.selection import select


def blobs(sizes, spread=0.05, d=16, seed=0):
    """Features around as many orthogonal centres, and the number of each one's centre."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    features = np.eye(d)[labels] + generator.normal(scale=spread, size=[len(labels), d])
    return features.astype(np.float32), labels


# ---- Copies ----


def with_copies(n=300, copies=40, noise=1e-3):
    features = random_features(n, 32)
    near = features[:copies] + np.random.default_rng(1).normal(scale=noise, size=[copies, 32]).astype(np.float32)
    return np.concatenate([features, near])


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 5e-2])
def test_planted_copies_are_found_and_nothing_else(tmp_path, noise):
    index = an_index(tmp_path, with_copies(noise=noise))
    chosen = choose_threshold(nearest_similarities(index))
    groups = groups_of_copies(index, chosen.similarity)
    assert sorted(groups) == [[place, 300 + place] for place in range(40)]


@pytest.mark.parametrize("seed", range(5))
def test_where_there_are_no_copies_hardly_any_are_found(tmp_path, seed):
    """Of random features some are close to each other by chance."""
    index = an_index(tmp_path, random_features(300, 32, seed=seed))
    groups = groups_of_copies(index, choose_threshold(nearest_similarities(index)).similarity)
    assert sum(map(len, groups)) <= 6


def test_copies_of_most_images_are_found_too(tmp_path):
    index = an_index(tmp_path, with_copies(n=300, copies=240, noise=1e-2))
    groups = groups_of_copies(index, choose_threshold(nearest_similarities(index)).similarity)
    assert sorted(groups) == [[place, 300 + place] for place in range(240)]


def test_equal_images_are_copies_at_every_threshold_and_have_a_histogram(tmp_path):
    features = random_features(200, 512)
    index = an_index(tmp_path, np.concatenate([features, features]))
    assert len(groups_of_copies(index, 1.0)) == 200
    assert sum(int(line.split()[3]) for line in histogram(np.full(5, 1.0000002))) == 5


@pytest.mark.parametrize("value", [0.2, 0.9, 1.0])
def test_a_threshold_of_equal_similarities_is_above_them_and_below_that_of_equal_images(value):
    chosen = choose_threshold(np.full(50, value))
    assert min(value, EXACT) <= chosen.similarity <= EXACT


@pytest.mark.parametrize("held", [3, 4_000_000])
def test_a_group_is_joined_by_any_of_its_pairs(tmp_path, monkeypatch, held):
    """A chain, whose ends are no copies of each other; also where edges are compressed again and again."""
    monkeypatch.setattr(duplicates, "_EDGES_HELD", held)
    monkeypatch.setattr(duplicates, "_QUERIES", 2)
    angles = np.deg2rad([0, 5, 10, 90, 180, 184])
    index = an_index(tmp_path, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    assert groups_of_copies(index, np.cos(np.deg2rad(6))) == [[0, 1, 2], [4, 5]]
    assert groups_of_copies(index, np.cos(np.deg2rad(4.5))) == [[4, 5]]


def test_the_histogram_counts_every_image():
    lines = histogram(np.array([0.5, 0.61, 0.62, 1.0]))
    assert sum(int(line.split()[3]) for line in lines) == 4


# ---- Outliers ----


def test_the_image_that_is_like_no_other_is_the_first_outlier(tmp_path):
    features, _ = blobs([20, 20])
    features[7] = -features[7]
    index = an_index(tmp_path, features)
    scores = outlier_scores(index, 5)
    assert scores.argmax() == 7
    matrix = index.normalised(np.arange(40)) @ index.normalised(np.arange(40)).T
    np.fill_diagonal(matrix, -2)
    np.testing.assert_allclose(scores, 1 - -np.sort(-matrix, axis=1)[:, :5].mean(axis=1), atol=1e-5)


# ---- Clusters ----


@pytest.mark.parametrize("number", [4, None])
def test_blobs_are_found_as_clusters_the_largest_first(tmp_path, number):
    features, labels = blobs([10, 40, 20, 30])
    found = find_clusters(an_index(tmp_path, features), number)
    assert found.number == 4
    assert np.bincount(found.labels).tolist() == [40, 30, 20, 10]
    assert len(set(zip(found.labels.tolist(), labels.tolist(), strict=True))) == 4
    if number is None:
        assert max(found.tried, key=found.tried.get) == 4


def test_more_clusters_than_images_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"`clusters` must be smaller .* Received: clusters=5, 5 images"):
        find_clusters(an_index(tmp_path, random_features(5)), 5)


# ---- Choices ----


@pytest.mark.parametrize("strategy", ["typical", "diverse"])
def test_a_choice_has_every_blob_where_a_random_one_has_not(tmp_path, strategy):
    features, labels = blobs([60, 5, 5, 5, 5])
    index = an_index(tmp_path, features)
    chosen = select(index, 5, strategy)
    assert sorted(labels[chosen]) == [0, 1, 2, 3, 4]
    assert len(set(labels[select(index, 5, "random")])) < 5


def test_typical_images_lie_in_the_middle_of_their_blob(tmp_path):
    features, labels = blobs([50, 50], spread=0.2)
    chosen = select(an_index(tmp_path, features), 2, "typical")
    for row in chosen:
        own = features[labels == labels[row]]
        distances = np.linalg.norm(own - own.mean(axis=0), axis=1)
        assert np.linalg.norm(features[row] - own.mean(axis=0)) <= np.quantile(distances, 0.3)


def test_diverse_images_are_those_of_the_greedy_rule(tmp_path):
    features = random_features(30)
    index = an_index(tmp_path, features)
    chosen = select(index, 8, "diverse", seed=3).tolist()
    distances = 1 - index.normalised(np.arange(30)) @ index.normalised(np.arange(30)).T
    for place in range(1, 8):
        left = [row for row in range(30) if row not in chosen[:place]]
        assert chosen[place] == max(left, key=lambda row: distances[row, chosen[:place]].min())


def test_images_with_labels_are_not_chosen_and_what_is_like_them_comes_late(tmp_path):
    features, blob = blobs([30, 30, 30])
    labels = ["known" if number % 30 < 5 and number < 60 else "" for number in range(90)]
    index = an_index(tmp_path, features, labels)
    for strategy in ("typical", "diverse", "random"):
        chosen = select(index, 80, strategy)
        assert sorted(chosen) == [row for row, label in enumerate(labels) if not label]
    assert blob[select(index, 1, "typical")] == 2 and blob[select(index, 1, "diverse")] == 2
    with pytest.raises(InputError, match="Received: n=81, 80 images"):
        select(index, 81, "random")


def test_uncertain_images_lie_between_the_classes(tmp_path):
    """In one dimension that matters the classifier's border is halfway: the nearest to it come first."""
    generator = np.random.default_rng(0)
    place = np.concatenate([np.full(20, 1.0), np.full(20, 3.0), np.linspace(0.5, 3.5, 31)])
    features = np.stack([place, np.full(71, 2.0) + generator.normal(scale=1e-3, size=71)], axis=1).astype(np.float32)
    labels = ["low"] * 20 + ["high"] * 20 + [""] * 31
    chosen = select(an_index(tmp_path, features, labels), 31, "uncertain")
    distances = np.abs(place[chosen] - 2)
    assert distances[0] < 0.06 and distances[:5].max() < distances[-10:].min()
    assert sorted(chosen) == list(range(40, 71))
    model = LogisticRegression(max_iter=1000).fit(
        StandardScaler().fit_transform(features[:40]), labels[:40]
    )  # the same by scikit-learn's own parts
    scaled = StandardScaler().fit(features[:40]).transform(features[40:])
    margin = np.abs(np.diff(model.predict_proba(scaled), axis=1)[:, 0])
    assert np.all(np.diff(margin[chosen - 40]) >= -1e-6)


@pytest.mark.parametrize("labels", [[""] * 6, ["a"] * 6, ["a", "a", "", "", "", ""]])
def test_uncertainty_needs_two_classes_beside_images_without(tmp_path, labels):
    with pytest.raises(InputError, match="`strategy` uncertain needs images with labels of two classes or more"):
        select(an_index(tmp_path, random_features(6), labels), 1, "uncertain")


@pytest.mark.parametrize("strategy", ["typical", "diverse", "random"])
def test_a_choice_has_different_images_up_to_all(tmp_path, strategy):
    index = an_index(tmp_path, random_features(30))
    assert sorted(select(index, 30, strategy)) == list(range(30))
    assert select(index, 6, strategy, seed=1).tolist() == select(index, 6, strategy, seed=1).tolist()
    with pytest.raises(InputError, match="Received: n=31, 30 images"):
        select(index, 31, strategy)


# ---- Labels ----


def test_exchanged_labels_are_suspects_and_others_are_not(tmp_path):
    features, labels = blobs([30, 30])
    names = ["cat" if label else "dog" for label in labels]
    names[3], names[40], names[50] = "cat", "dog", ""
    found = label_votes(an_index(tmp_path, features, names), 5)
    assert found.classes == ("cat", "dog") and len(found.rows) == 59
    assert sorted(found.rows[found.suspects].tolist()) == [3, 40]
    np.testing.assert_allclose(found.votes.sum(axis=1), 1, rtol=1e-6)
    assert found.own[found.rows.tolist().index(3)] < 0.1


def test_one_class_has_no_doubtful_labels(tmp_path):
    with pytest.raises(InputError, match=r"two classes or more. Received: .* with 1"):
        label_votes(an_index(tmp_path, random_features(5), ["cat", "", "cat", "", ""]))


def test_a_class_is_not_outvoted_by_its_size_and_a_tie_has_no_winner(tmp_path):
    features, labels = blobs([12, 12])
    index = an_index(tmp_path, features, ["cat" if label else "dog" for label in labels])
    assert label_votes(index, 100).suspects.size == 0
    tie = an_index(tmp_path / "tie", np.array([[1, 0], [1, 0.1], [1, 0.1]], np.float32), ["b", "a", "b"])
    assert 0 not in label_votes(tie, 1).suspects.tolist() or label_votes(tie, 1).votes[0].max() > 0.5
