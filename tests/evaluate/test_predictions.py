"""Predictions: kept and read back, and the table that people and programs read."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.source import MultiLabel
from tf_simclr.evaluate.measures.twins import Twins
from tf_simclr.evaluate.predictions import (
    EvaluatedImages,
    Predicted,
    labels_in_order,
    names_of,
    pack,
    predictions_table,
    softmax_of,
    unpack,
)
from tf_simclr.evaluate.record_store import RecordStore
from tf_simclr.evaluate.records import PRETRAINED, Record, measured, measured_multi_label
from tf_simclr.resumable import short_digest

NAMES = ("cat", 'a,"b"\nc', "=cmd")
# In a table control characters are shown as text.
SHOWN = ("cat", 'a,"b"\\nc', "=cmd")
LABELS = np.array([0, 1, 2, 1])
IMAGES = EvaluatedImages(NAMES, ("w.png", "x,1.png", "y\udcff.png", "z é.png"), LABELS, train_names=("t0", "t1"))
TWINS = Twins(np.array([-1, 1, -1, -1]), np.array([False, True, False, False]), np.array([0, 1.0, 0, 0]))


def read(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))


def record(seed=0, scores=None):
    scores = np.random.default_rng(seed).normal(size=(4, 3)) if scores is None else scores
    return Record("knn", PRETRAINED, "h", "", seed, **measured(scores.argmax(1), LABELS, 3, scores=scores))


def test_a_table_by_hand():
    predicted = Predicted(np.array([0, 1, 1, 2]), np.float32([0.5, 0.25, 1, 0.125]))
    rows = read(predictions_table([(None, predicted)], IMAGES.with_twins(TWINS)))
    assert [list(row.values()) for row in rows] == [
        ["w.png", "cat", "cat", "0.5", "", ""],
        ["x,1.png", SHOWN[1], SHOWN[1], "0.25", "t1", ""],
        ["y\udcff.png", "=cmd", SHOWN[1], "1", "", ""],
        ["z é.png", SHOWN[1], "=cmd", "0.125", "", ""],
    ]
    assert list(rows[0]) == ["path", "label", "prediction", "probability", "twin", "seed"]


def test_the_bytes_of_a_name_are_those_of_the_file():
    content = predictions_table([(None, Predicted(LABELS))], IMAGES)
    assert b"y\xff.png" in content


def test_every_seed_has_its_lines():
    both = [(seed, record(seed).predicted) for seed in (3, 4)]
    rows = read(predictions_table(both, IMAGES))
    assert [row["seed"] for row in rows] == ["3"] * 4 + ["4"] * 4
    for (_, one), part in zip(both, (rows[:4], rows[4:]), strict=True):
        assert [row["prediction"] for row in part] == [SHOWN[label] for label in one.classes]
        np.testing.assert_allclose([float(row["probability"]) for row in part], one.probabilities, rtol=1e-5)


def test_several_classes_have_a_column_of_scores_each():
    positives = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]], bool)
    ignored = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    targets = MultiLabel(positives, ignored)
    images = dataclasses.replace(IMAGES, labels=None, targets=targets, twins=TWINS)
    scores = np.arange(12.0).reshape(4, 3) / 7
    found = measured_multi_label(scores, targets, {})
    rows = read(predictions_table([(0, found["predicted"])], images))
    assert [row["label"] for row in rows] == ["|".join(SHOWN[:2]), "", SHOWN[2], SHOWN[1]]
    assert [row["ignored"] for row in rows] == [SHOWN[2], "|".join([SHOWN[0], SHOWN[2]]), "", ""]
    assert set(rows[0]) == {"path", "label", "ignored", "twin", "seed", *(f"score:{name}" for name in SHOWN)}
    for row, wanted in zip(rows, scores, strict=True):
        np.testing.assert_allclose([float(row[f"score:{name}"]) for name in SHOWN], wanted, rtol=1e-5)


def test_the_probability_is_a_softmax():
    scores = np.random.default_rng(0).normal(size=(5, 4)) * 50
    classes = scores.argmax(axis=1)
    wanted = tf.nn.softmax(scores).numpy()[np.arange(5), classes]
    np.testing.assert_allclose(softmax_of(scores, classes), wanted, rtol=1e-6)
    np.testing.assert_allclose(softmax_of(np.array([[0.0, np.log(3)]]), np.array([1])), [0.75], rtol=1e-6)


def test_without_the_twins_by_hand():
    """Right are images 0, 1 and 3; image 1 is a copy. Classes 0, 1 and 2 have 1, 1 and 0 of 1 right without it."""
    one = record(scores=np.eye(3)[[0, 1, 1, 1]])
    assert one.metrics["top_1"] == 0.75
    assert one.with_twins(IMAGES).without_twins is None
    assert one.with_twins(IMAGES.with_twins(TWINS)).without_twins == {
        "top_1": pytest.approx(2 / 3),
        "mean_per_class": pytest.approx(2 / 3),
    }
    all_copies = dataclasses.replace(TWINS, rows=np.zeros(4, np.int64))
    assert one.with_twins(IMAGES.with_twins(all_copies)).without_twins == {}


def test_names_and_labels_of_sources():
    source = shapes_source("test[:25]", side=8)
    assert names_of(source)[3] == "test/00003"
    assert names_of(dataclasses.replace(source, names=None)) == tuple(map(str, range(25)))
    records = list(source.records(None).as_numpy_iterator())
    assert labels_in_order(source).tolist() == [record["label"] for record in records]


def test_what_is_packed_comes_back():
    kept = [Predicted(LABELS, np.float32([1, 2, 3, 4])), None, Predicted(scores=np.eye(3, dtype=np.float32))]
    found = unpack(pack(kept), 3)
    assert found[1] is None
    for one, other in ((kept[0], found[0]), (kept[2], found[2])):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name))


# ---- What is kept of a protocol ----


def test_a_kept_result_still_has_its_predictions(tmp_path):
    said = []
    store, records = RecordStore(str(tmp_path / "new"), said.append), [record(0), record(1)]
    assert store.read("knn-1") is None and not (tmp_path / "new").exists()
    store.write("knn-1", {"format": 2}, records)
    again = store.read("knn-1")
    assert again == records and store.has("knn-1")
    for one, other in zip(records, again, strict=True):
        np.testing.assert_array_equal(one.predicted.classes, other.predicted.classes)
        np.testing.assert_array_equal(one.predicted.probabilities, other.predicted.probabilities)
    assert said == []


@pytest.mark.parametrize("spoil", ["json", "npz"])
def test_a_damaged_result_is_computed_again_with_a_line(tmp_path, spoil):
    said = []
    store = RecordStore(str(tmp_path), said.append)
    store.write("knn-1", {"format": 2}, [record()])
    path = tmp_path / "cells" / f"knn-1.{spoil}"
    path.write_bytes(path.read_bytes()[:40])
    assert store.read("knn-1") is None
    assert len(said) == 1 and "computing it again" in said[0]
    (tmp_path / "cells" / "knn-1.npz").unlink()
    store = RecordStore(str(tmp_path), said.append)
    assert store.read("knn-1") is None


def test_results_of_an_earlier_version_are_named(tmp_path):
    said = []
    store = RecordStore(str(tmp_path), said.append)
    store.note_older_results(2)
    store.write("knn-1", {"format": 2}, [record()])
    store.note_older_results(2)
    assert said == []
    store.write("knn-0", {"format": 1}, [record()])
    store.note_older_results(2)
    assert len(said) == 1 and "1 results in" in said[0] and "computed again" in said[0]


def test_arrays_come_back(tmp_path):
    store = RecordStore(str(tmp_path), print)
    assert store.read_arrays("twins-1") is None
    store.write_arrays("twins-1", TWINS.to_arrays())
    for name, value in store.read_arrays("twins-1").items():
        np.testing.assert_array_equal(value, getattr(TWINS, name))


def test_a_digest_changes_with_the_values():
    assert short_digest({"a": 1}) == short_digest({"a": 1}) != short_digest({"a": 2})
    assert len(short_digest([])) == 12
