"""The fingerprint, location and names of every kind of source."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.folders import class_folders, make_images
from tf_simclr.data import shapes
from tf_simclr.data.datasets import load_sources, load_splits
from tf_simclr.data.joined import joined
from tf_simclr.data.memory import held
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.subset import class_balanced, hold_out
from tf_simclr.errors import InputError

FILES = class_folders({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "data", FILES)


def opened(folder, **options):
    return load_sources("folder", data_dir=str(folder), eval_split="test", **options)


def names_of(source):
    """Names by the records themselves: the last part of what a record of a folder names."""
    return [os.fsdecode(record["data"].numpy()) for record in source.records(None)]


def test_the_same_folder_has_the_same_fingerprint(folder):
    train, test = opened(folder)
    again, test_again = opened(folder)
    assert len(train.fingerprint) == 64
    assert (train.fingerprint, test.fingerprint) == (again.fingerprint, test_again.fingerprint)
    assert train.fingerprint != test.fingerprint
    assert train.load().fingerprint == held(train).fingerprint == train.fingerprint


def touch(folder):
    path = folder / "train" / "a" / "000.png"
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def resize(folder):
    path = folder / "train" / "a" / "000.png"
    facts = path.stat()
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def exchange_classes(folder):
    for split in ("train", "test"):
        (folder / split / "a").rename(folder / split / "c")
        (folder / split / "b").rename(folder / split / "a")
        (folder / split / "c").rename(folder / split / "b")


CHANGES = {
    "renamed": lambda f: (f / "train" / "a" / "000.png").rename(f / "train" / "a" / "9.png"),
    "moved to another class": lambda f: (f / "train" / "a" / "000.png").rename(f / "train" / "b" / "x.png"),
    "removed": lambda f: (f / "train" / "a" / "000.png").unlink(),
    "added": lambda f: make_images(f, ["train/a/new.png"]),
    "touched": touch,
    "grown": resize,
    "classes exchanged": exchange_classes,
    "a class renamed": lambda f: [(f / s / "b").rename(f / s / "z") for s in ("train", "test")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_result_changes_the_fingerprint(folder, change):
    before, test_before = opened(folder)
    CHANGES[change](folder)
    after, test_after = opened(folder)
    assert after.fingerprint != before.fingerprint
    assert (test_after.fingerprint != test_before.fingerprint) == (change in ("classes exchanged", "a class renamed"))


def test_what_is_no_image_changes_nothing(folder):
    before, _ = opened(folder)
    (folder / "train" / "a" / "notes.txt").write_text("x")
    assert opened(folder)[0].fingerprint == before.fingerprint


def test_slices_and_hold_outs_have_their_own(folder, tmp_path):
    train, _ = opened(folder)
    slices = [opened(folder, train_split=split)[0] for split in ("train[:4]", "train[4:]", "train[:8]")]
    assert len({train.fingerprint, *(s.fingerprint for s in slices[:2])}) == 3
    assert slices[2].fingerprint == train.fingerprint
    make_images(tmp_path / "unsplit", class_folders({"a": 30, "b": 30}))
    options = {"data_dir": str(tmp_path / "unsplit"), "eval_split": "test", "validation_split": "validation"}
    found = {source.fingerprint for seed in (0, 1) for source in load_splits("folder", seed=seed, **options)}
    assert len(found) == 6


def test_a_folder_tells_where_it_is(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative, _ = load_sources("folder", data_dir="data", eval_split="test")
    absolute, _ = opened(folder)
    assert relative.location == absolute.location == str(folder)
    assert relative.name == absolute.name == f"folder {folder}"
    assert relative.fingerprint == absolute.fingerprint
    # Another folder under the same relative name.
    shutil.copytree(folder, tmp_path / "other" / "data")
    monkeypatch.chdir(tmp_path / "other")
    other, _ = load_sources("folder", data_dir="data", eval_split="test")
    assert other.name != relative.name and other.location != relative.location
    # copytree keeps the times: a folder that is moved as a whole has its old fingerprint.
    assert other.fingerprint == relative.fingerprint
    (tmp_path / "link").symlink_to(folder / "train")
    up, _ = load_sources("folder", data_dir=str(tmp_path / "link" / ".."), eval_split="test")
    assert up.location == str(folder)


def test_names_are_those_of_the_records(folder):
    for source in (*opened(folder), opened(folder, train_split="train[2:7]")[0]):
        assert [os.path.join(source.location, name) for name in source.names()] == names_of(source)
    train, test = opened(folder)
    few = class_balanced(train, per_class=2, seed=3).source
    assert [os.path.join(few.location, name) for name in few.names()] == names_of(few)
    assert joined(train, test).names() == train.names() + test.names()
    assert held(few).names() == few.names()


def test_parts_have_fingerprints_of_their_own(folder):
    train, test = opened(folder)
    subsets = [class_balanced(train, per_class=2, seed=seed).source for seed in (0, 0, 1)]
    assert subsets[0].fingerprint == subsets[1].fingerprint != subsets[2].fingerprint
    kept, out = (subset.source for subset in hold_out(train, 0.3))
    assert sorted(kept.names() + out.names()) == sorted(train.names())
    both = joined(train, test)
    assert len({train.fingerprint, test.fingerprint, both.fingerprint, kept.fingerprint, out.fingerprint}) == 5
    touch(folder)
    assert class_balanced(opened(folder)[0], per_class=2).source.fingerprint != subsets[0].fingerprint


def test_names_of_any_bytes_are_text(tmp_path):
    make_images(tmp_path, ["train/a/1.png", "train/b/2.png"])
    for old, new in ((b"1.png", b"\xff\xe9[']\n.png"), (b"1.png", "dög.png".encode())):
        make_images(tmp_path, ["train/a/1.png"])
        os.rename(os.fsencode(tmp_path) + b"/train/a/" + old, os.fsencode(tmp_path) + b"/train/a/" + new)
    source, _ = load_sources("folder", data_dir=str(tmp_path), eval_split=None)
    assert source.names() == ("train/a/dög.png", "train/a/\\xff\\xe9[']\\n.png", "train/b/2.png")
    json.dumps(source.names()).encode()
    "".join(source.names()).encode()
    assert len(source.load().fingerprint) == 64


# ---- Shapes ----


def test_shapes():
    first = shapes_source("train[:20]", side=8)
    others = [
        shapes_source("train[:20]", seed=1, side=8),
        shapes_source("train[:21]", side=8),
        shapes_source("test[:20]", side=8),
        shapes_source("train[:20]", side=9),
    ]
    assert first.fingerprint == shapes_source("train[:20]", side=8).fingerprint
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert first.location is None and first.names()[3] == "train/00003"
    few = class_balanced(first, per_class=1).source
    assert few.names() == tuple(f"train/{int(record['index']):05d}" for record in few.records(None))


def test_another_generator_is_another_fingerprint(monkeypatch):
    before = shapes_source("train[:20]", side=8).fingerprint
    monkeypatch.setattr(shapes, "GENERATOR", shapes.GENERATOR + 1)
    assert shapes_source("train[:20]", side=8).fingerprint != before


# ---- TFDS ----


class SimclrFingerprintBits(tfds.core.GeneratorBasedBuilder):
    """Grey images in two splits."""

    __module__ = "simclr_test_builders"  # TFDS looks for code in the package of a builder, and tests are in none
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(4, 4, 3), encoding_format="png")
        features = {"image": image, "label": tfds.features.ClassLabel(names=["a", "b"])}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 30), "test": self._generate_examples(30, 40)}

    def _generate_examples(self, start, stop):
        for number in range(start, stop):
            yield number, {"image": np.full((4, 4, 3), number, np.uint8), "label": number % 2}


NAME = "simclr_fingerprint_bits"


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.mark.parametrize("split", ["train", "train[5:12]", "train[20:]+test[:3]", "all"])
def test_names_of_tfds_are_its_ids(tfds_dir, split):
    source, _ = load_sources(NAME, data_dir=tfds_dir, train_split=split, eval_split=None)
    assert list(source.names()) == [record["data"][1].numpy().decode() for record in source.records(None)]
    assert sum(span.stop - span.start for span in source.spans) == source.num_examples
    assert source.location.startswith(tfds_dir)
    few = class_balanced(source, per_class=1).source
    assert list(few.names()) == [record["data"][1].numpy().decode() for record in few.records(None)]


def test_fingerprints_of_tfds(tfds_dir, tmp_path):
    train, test = load_sources(NAME, data_dir=tfds_dir, eval_split="test")
    part, _ = load_sources(NAME, data_dir=tfds_dir, train_split="train[:10]", eval_split=None)
    assert len({train.fingerprint, test.fingerprint, part.fingerprint}) == 3
    shutil.copytree(tfds_dir, tmp_path / "copy")
    copy, _ = load_sources(NAME, data_dir=str(tmp_path / "copy"), eval_split=None)
    assert copy.fingerprint == train.fingerprint and copy.location != train.location
    (shard,) = (tmp_path / "copy").rglob("*train.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"xy")
    with_other = load_fingerprint(tmp_path / "copy")
    assert with_other != train.fingerprint
    shard.unlink()
    with pytest.raises(InputError, match=r"A file of the prepared data set cannot be read.*train\.tfrecord"):
        load_fingerprint(tmp_path / "copy")


def load_fingerprint(data_dir):
    """Of the test split's neighbour, streamed, so that its damaged records are not read."""
    from tf_simclr.data.tfds_source import load_tfds

    return load_tfds(NAME, data_dir=str(data_dir), train_split="train", eval_split=None, memory_budget=0)[0].fingerprint
