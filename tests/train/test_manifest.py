from __future__ import annotations

import dataclasses
import json

import pytest
import tensorflow as tf

from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import InputError
from tf_simclr.train import checkpoints, manifest
from tf_simclr.train.checkpoint_store import CheckpointStore
from tf_simclr.train.manifest import Manifest, class_names_of, describe_images, read_manifest

NAMES = ("Hünde", "cat\udcff", 'with "quotes"')


def save(directory, text="", step=3):
    return CheckpointStore(str(directory), {"encoder/a": tf.Variable(2.0)}, 2, manifest=text).save(step)


def test_it_travels_inside_the_checkpoint(tmp_path):
    written = Manifest(NAMES, {"examples": 7})
    prefix = save(tmp_path / "run", written.to_text())
    (tmp_path / "run").rename(tmp_path / "moved")
    prefix = prefix.replace("run", "moved")
    assert read_manifest(prefix) == written and class_names_of(prefix) == NAMES
    # Readers that know nothing of it see the variables alone.
    assert checkpoints.shapes_in(prefix) == {"encoder/a": ()}
    assert checkpoints.read_values(prefix, ["encoder/a"]) == {"encoder/a": 2.0}


def test_a_checkpoint_without_one_names_no_classes(tmp_path):
    """As every version before wrote them."""
    prefix = save(tmp_path)
    assert read_manifest(prefix) is None and class_names_of(prefix) is None


def test_replicas_write_it_too(tmp_path, mirrored):
    with mirrored(2).scope():
        variable = tf.Variable(1.0)
    text = Manifest(NAMES).to_text()
    prefix = CheckpointStore(str(tmp_path), {"a": variable}, 1, manifest=text).save(1)
    assert class_names_of(prefix) == NAMES


def test_a_later_format_is_an_error_that_names_the_version(tmp_path):
    prefix = save(tmp_path, json.dumps({"format": 99, "tf_simclr": "9.9"}))
    with pytest.raises(InputError, match=r"tf_simclr 9\.9"):
        read_manifest(prefix)


def test_an_export_names_its_classes_in_its_card(tmp_path):
    (tmp_path / "simclr.json").write_text(json.dumps({"class_names": ["a", "b"]}))
    assert class_names_of(str(tmp_path / "variables" / "variables")) == ("a", "b")
    (tmp_path / "simclr.json").write_text("{}")
    assert class_names_of(str(tmp_path / "variables" / "variables")) is None


def test_images_are_described_by_what_a_move_does_not_change():
    source = shapes_source("train[:4]", seed=0)
    plain = describe_images(source)
    assert plain["examples"] == 4 and plain["files"] == ""
    named = dataclasses.replace(source, read=tf.identity, names=lambda: ("a/1.png", "b/\udcff.png"), location="/one")
    moved = dataclasses.replace(named, location="/two")
    assert describe_images(named)["files"] == describe_images(moved)["files"] != ""
    other = dataclasses.replace(named, names=lambda: ("a/1.png", "b/3.png"))
    assert describe_images(other)["files"] != describe_images(named)["files"]
    assert manifest.Manifest((), describe_images(named)).to_text()
