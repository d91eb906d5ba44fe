from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.data.class_order import describe_difference, positions, with_class_order
from tf_simclr.data.source import ImageSource, MultiLabel, records_from_table
from tf_simclr.errors import InputError


def source_of(labels, names, *, load=True, targets=None):
    labels = np.array(labels, np.int64)
    index = np.arange(len(labels))
    source = ImageSource(
        name="made up",
        split="train",
        num_examples=len(labels),
        num_classes=len(names),
        class_names=tuple(names),
        image_shape=(1, 1, 3),
        records=records_from_table(index, labels, tf.zeros([len(labels), 1, 1, 3])),
        decode=tf.identity,
        load=(lambda: source_of(labels, names, load=False)) if load else None,
        targets=targets,
    )
    return source


def labels_of(source):
    return [int(record["label"]) for record in source.records(None)]


def test_labels_and_names_change_together():
    source = source_of([0, 1, 2, -1, 2], ["ant", "bee", "cat"])
    ordered = with_class_order(source, ["cat", "ant", "bee"])
    assert ordered.class_names == ("cat", "ant", "bee")
    assert labels_of(ordered) == [1, 2, 0, -1, 0]
    named = [ordered.class_names[label] if label >= 0 else None for label in labels_of(ordered)]
    assert named == ["ant", "bee", "cat", None, "cat"]
    assert labels_of(ordered.load()) == labels_of(ordered)


def test_a_shuffled_pass_has_the_new_labels_too():
    source = source_of(range(20), [f"{i:02}" for i in range(20)])
    ordered = with_class_order(source, source.class_names[::-1])
    seed = tf.constant(3, tf.int64)
    for record, plain in zip(ordered.records(seed), source.records(seed), strict=True):
        assert int(record["index"]) == int(plain["index"]) and int(record["label"]) == 19 - int(plain["label"])


def test_columns_of_several_classes_are_reordered():
    shown = np.array([[True, False, False], [False, True, True]])
    source = source_of([-1, -1], ["a", "b", "c"], targets=lambda: MultiLabel(shown, ~shown))
    ordered = with_class_order(source, ["c", "a", "b"]).targets()
    np.testing.assert_array_equal(ordered.positives, shown[:, [2, 0, 1]])
    np.testing.assert_array_equal(ordered.ignored, ~shown[:, [2, 0, 1]])


def test_the_same_order_is_the_same_source():
    source = source_of([0, 1], ["a", "b"])
    assert with_class_order(source, ["a", "b"]) is source


def test_other_names_are_an_error_that_lists_them():
    with pytest.raises(InputError, match=r"missing: 'c'; new: 'b'"):
        with_class_order(source_of([0, 1], ["a", "b"]), ["a", "c"])


def test_positions():
    assert positions(["a", "b"], ["b", "a"]) == (1, 0)
    assert positions(["a", "a", "b"], ["b", "a", "a"]) == (1, 2, 0)
    assert positions(["a", "b"], ["a"]) is None and positions(["a"], ["b"]) is None


def test_long_lists_are_cut_and_say_so():
    there = [str(i) for i in range(9)]
    assert describe_difference(there, []) == "missing: '0', '1', '2', '3', '4' and 4 more"
