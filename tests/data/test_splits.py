"""Splits never share an example, wherever a second one is opened."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.folders import class_folders, make_images
from tf_simclr.config import DataConfig
from tf_simclr.data.datasets import load_sources, load_splits
from tf_simclr.data.joined import joined
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.source import Span
from tf_simclr.data.splits import require_disjoint, shared, spans_of_part
from tf_simclr.data.subset import class_balanced, hold_out
from tf_simclr.errors import InputError
from tf_simclr.evaluate.protocols.context import open_splits

SHARED = "Two splits must not share images"


class SimclrSplitBits(tfds.core.GeneratorBasedBuilder):
    """Grey images in two splits."""

    __module__ = "simclr_test_builders"  # TFDS looks for code in the package of a builder, and tests are in none
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(4, 4, 3), encoding_format="png")
        features = {"image": image, "label": tfds.features.ClassLabel(names=["a", "b"])}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 60), "test": self._generate_examples(60, 75)}

    def _generate_examples(self, start, stop):
        for number in range(start, stop):
            yield number, {"image": np.full((4, 4, 3), number, np.uint8), "label": number % 2}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def folder(tmp_path):
    make_images(tmp_path / "data", class_folders({"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 3}))
    return tmp_path / "data"


@pytest.mark.parametrize(
    "splits",
    [("train", "train"), ("train[:80%]", "train[50%:]"), ("train", "train[:5]"), ("train[:1]", "train[:1]")],
    ids=str,
)
@pytest.mark.parametrize("kind", ["shapes", "folder", "tfds"])
def test_overlapping_slices(kind, splits, folder, data_dir):
    dataset = {"tfds": "simclr_split_bits"}.get(kind, kind)
    # The built-in images are drawn before they are compared: few of them will do.
    few = {"train": "train[:40]", "train[:80%]": "train[:32]", "train[50%:]": "train[20:40]", "test": "test[:20]"}
    whole, test, first, second = (
        few.get(split, split) if kind == "shapes" else split for split in ("train", "test", *splits)
    )
    options = {"folder": {"data_dir": str(folder)}, "tfds": {"data_dir": data_dir}}.get(kind, {})
    with pytest.raises(InputError, match=SHARED) as error:
        load_sources(dataset, train_split=first, eval_split=second, **options)
    assert "\n" not in str(error.value)
    # As validation, and beside it.
    for evaluation, validation in ((test, second), (second, test)):
        with pytest.raises(InputError, match=SHARED):
            load_splits(dataset, train_split=first, eval_split=evaluation, validation_split=validation, **options)
    with pytest.raises(InputError, match=SHARED):
        load_splits(dataset, train_split=whole, eval_split=test, validation_split=test, **options)


def test_the_message_counts_and_names(folder):
    with pytest.raises(InputError, match=r"with 6 images in both, such as train/[ab]/\d+.png, .*train\[:80%\] and"):
        load_sources("folder", data_dir=str(folder), train_split="train[:80%]", eval_split="train[50%:]")
    with pytest.raises(InputError, match=r"with 9 images in both, such as validation/00000"):
        load_splits("shapes", train_split="train[:9]", eval_split="validation[:9]", validation_split="validation[:9]")


@pytest.mark.parametrize("splits", [("all", "test"), ("train[:10%]", "train[5%:20%]"), ("test+train", "test[:1]")])
def test_overlaps_that_tfds_can_say(splits, data_dir):
    name = "simclr_split_bits"
    with pytest.raises(InputError, match=SHARED):
        load_sources(name, data_dir=data_dir, train_split=splits[0], eval_split=splits[1])


def test_slices_that_meet_at_an_end_are_disjoint(folder, data_dir):
    for dataset, options in (
        ("shapes", {}),
        ("folder", {"data_dir": str(folder)}),
        ("simclr_split_bits", {"data_dir": data_dir}),
    ):
        sources = load_splits(
            dataset, train_split="train[:50%]", eval_split="train[50%:75%]", validation_split="train[75%:]", **options
        )
        assert all(source.spans for source in sources)


def test_one_file_in_two_splits(folder):
    (folder / "test" / "a" / "linked.png").symlink_to(folder / "train" / "a" / "000.png")
    with pytest.raises(InputError, match=r"with 1 images in both, such as test/a/linked.png"):
        load_sources("folder", data_dir=str(folder), eval_split="test")
    (folder / "test" / "a" / "linked.png").unlink()
    os.link(folder / "train" / "b" / "001.png", folder / "test" / "b" / "hard.png")
    with pytest.raises(InputError, match=r"such as test/b/hard\.png"):
        load_sources("folder", data_dir=str(folder), eval_split="test")
    (folder / "test" / "b" / "hard.png").unlink()
    load_sources("folder", data_dir=str(folder), eval_split="test")


def test_a_split_that_is_a_link_to_another(folder):
    (folder / "validation").symlink_to(folder / "train")
    with pytest.raises(InputError, match=r"with 20 images in both"):
        load_sources("folder", data_dir=str(folder))


def test_a_file_under_two_names_is_held_out_once_or_not_at_all(tmp_path):
    make_images(tmp_path, class_folders({"a": 20, "b": 20}))
    for number in range(20):
        os.link(tmp_path / "a" / f"{number:03d}.png", tmp_path / "a" / f"copy{number}.png")
        (tmp_path / "b" / f"link{number}.png").symlink_to(tmp_path / "b" / f"{number:03d}.png")
    train, test = load_sources("folder", data_dir=str(tmp_path))
    assert train.num_examples + test.num_examples == 40
    assert any("ignored 40 links to files that were read already" in note for note in train.notes)


def test_one_file_in_two_classes(tmp_path):
    make_images(tmp_path, class_folders({"a": 5, "b": 5}))
    (tmp_path / "b" / "x.png").symlink_to(tmp_path / "a" / "001.png")
    with pytest.raises(InputError, match=r"A file must have one class. Received: 'a/001.png' and 'b/x.png'"):
        load_sources("folder", data_dir=str(tmp_path))


@pytest.mark.parametrize("split", ["train", "train[50%:]"])
def test_without_splits_the_hold_out_needs_a_name_of_its_own(tmp_path, split):
    make_images(tmp_path, class_folders({"a": 20, "b": 20}))
    with pytest.raises(InputError, match=rf"{SHARED}.*has no splits"):
        load_sources("folder", data_dir=str(tmp_path), eval_split=split)
    with pytest.raises(InputError, match=SHARED):
        load_splits("folder", data_dir=str(tmp_path), eval_split="test", validation_split=split)


def test_what_an_evaluation_opens(tmp_path):
    """DIR/CLASS with a validation split: the settings are not chosen on the test set."""
    make_images(tmp_path, class_folders({"a": 40, "b": 40}))
    data = DataConfig(dataset="folder", data_dir=str(tmp_path), eval_split="test")
    splits = open_splits(data, "validation")
    parts = [set(source.names()) for source in (splits.train, splits.test, splits.validation)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 80
    with pytest.raises(InputError, match=SHARED):
        open_splits(DataConfig(dataset="shapes", train_split="train[:80]", eval_split="train[40:90]"), None)


def test_joining_what_overlaps():
    with pytest.raises(InputError, match=SHARED):
        joined(shapes_source("train[:30]"), shapes_source("train[20:40]"))
    both = joined(shapes_source("train[:30]"), shapes_source("train[30:40]"))
    assert shared(both, shapes_source("train[25:45]")).tolist() == list(range(15))


def test_parts_of_a_split():
    whole = shapes_source("train[:60]")
    kept, held = hold_out(whole, 0.2)
    require_disjoint(kept.source, held.source)
    few = class_balanced(whole, per_class=2).source
    overlap = shared(whole, few)
    assert len(overlap) == few.num_examples == sum(span.stop - span.start for span in few.spans)
    assert joined(kept.source, held.source).num_examples == 60


def test_spans_of_a_part():
    spans = (Span("x", 3, 6), Span("y", 0, 1), Span("z", 5, 8))
    assert spans_of_part(spans, np.array([0, 1, 3, 4, 6])) == (
        Span("x", 3, 5),
        Span("y", 0, 1),
        Span("z", 5, 6),
        Span("z", 7, 8),
    )
    assert spans_of_part(spans, np.array([], int)) == spans_of_part((), np.array([1])) == ()
