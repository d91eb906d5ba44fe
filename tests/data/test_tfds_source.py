"""Data sets of TensorFlow Datasets, from small ones that are really written and read, without a network."""

from __future__ import annotations

import functools
import itertools
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.input_workers import WorkerProcess
from tf_simclr.data import tfds_builder
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.remote import remote_batches
from tf_simclr.data.tfds_source import load_tfds
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError

# TFDS looks for the code of a builder in the package it is defined in, and tests are in none.
OUTSIDE_PACKAGES = "simclr_test_builders"


def image(number: int, side: int = 6) -> np.ndarray:
    return np.full((side, side, 3), number, np.uint8)


class SimclrLabelledBits(tfds.core.GeneratorBasedBuilder):
    """Images whose grey level is their number and whose class is its remainder."""

    __module__ = OUTSIDE_PACKAGES
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="fixed", description="one size"),
        tfds.core.BuilderConfig(name="varied", description="many sizes"),
    ]

    def _info(self):
        side = 6 if self.builder_config.name == "fixed" else None
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
                    "weight": np.float32,
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 60), "test": self._generate_examples(60, 75)}

    def _generate_examples(self, start, stop):
        for number in range(start, stop):
            side = 6 if self.builder_config.name == "fixed" else 5 + number % 3
            label = number % 3
            yield number, {"image": image(number, side), "label": label, "weight": 0.5}


class SimclrUnlabelledBits(tfds.core.GeneratorBasedBuilder):
    """Grey images without labels, under another key."""

    __module__ = OUTSIDE_PACKAGES
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"photo": tfds.features.Image(shape=(4, 5, 1), encoding_format="png")}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(12):
            yield number, {"photo": np.full((4, 5, 1), number * 20, np.uint8)}


class SimclrNoImages(tfds.core.GeneratorBasedBuilder):
    """Numbers only."""

    __module__ = OUTSIDE_PACKAGES
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"x": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"x": 1}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def numbers(source, seed=None):
    """The numbers of the images in the order of one pass; checks every record on the way."""
    found, indices = [], set()
    records = source.records(seed).map(lambda r: r | {"image": source.decode(r["data"])})
    for record in records.as_numpy_iterator():
        image = record["image"]
        number = round(float(image[0, 0, 0]) * 255)
        np.testing.assert_allclose(image, number / 255.0, atol=1e-6)
        if source.labelled:
            assert int(record["label"]) == number % 3
        indices.add(int(record["index"]))
        found.append(number)
    assert len(indices) == len(found)
    return found


@pytest.mark.parametrize("config", ["fixed", "varied"])
@pytest.mark.parametrize("suffix", ["", ":1.0.0"])
def test_labelled(data_dir, config, suffix):
    train, test = load_sources(f"simclr_labelled_bits/{config}{suffix}", data_dir=data_dir, eval_split="test")
    assert (train.num_examples, test.num_examples, train.num_classes) == (60, 15, 3)
    assert train.class_names == ("a", "b", "c")
    assert train.image_shape == ((6, 6, 3) if config == "fixed" else None)
    assert train.load is None and train.notes == ()
    assert sorted(numbers(train)) == list(range(60)) and sorted(numbers(test)) == list(range(60, 75))
    assert numbers(train) == numbers(train)
    assert numbers(train, 1) == numbers(train, 1) != numbers(train, 2)
    assert sorted(numbers(train, 1)) == list(range(60))


def test_slices_are_disjoint_and_keep_the_identity_of_examples(data_dir):
    name = "simclr_labelled_bits/fixed"
    first, second = load_sources(name, data_dir=data_dir, train_split="train[:25%]", eval_split="train[25%:]")
    assert (first.num_examples, second.num_examples) == (15, 45)
    assert sorted(numbers(first) + numbers(second)) == list(range(60))
    whole, _ = load_sources(name, data_dir=data_dir, eval_split=None)

    def identities(source):
        return {int(r["index"]) for r in source.records(None)}

    assert identities(first) | identities(second) == identities(whole)


def test_a_split_above_the_memory_budget_is_streamed(data_dir):
    name = "simclr_labelled_bits/fixed"
    source, _ = load_tfds(
        name,
        data_dir=data_dir,
        train_split="train",
        eval_split=None,
        memory_budget=0,
        shuffle_buffer=20,
    )
    assert "buffer of 20 images" in source.notes[0]
    assert sorted(numbers(source, 3)) == list(range(60))
    assert numbers(source, 3) == numbers(source, 3) != numbers(source, 4)
    in_memory, _ = load_sources(name, data_dir=data_dir, eval_split=None)
    assert numbers(source) == numbers(in_memory) == numbers(source.load())
    # The seed may be a tensor inside a pipeline: it differs from epoch to epoch. A run sets the global seed, to 0 by
    # default, which then is no part of the order.
    tf.random.set_seed(None)
    passes = [int(r["index"]) for r in [*source.records(3), *source.records(4)]]
    for global_seed in (0, 5, None):
        tf.random.set_seed(global_seed)
        assert [int(r["index"]) for r in tf.data.Dataset.range(3, 5).flat_map(source.records)] == passes


def test_unlabelled_grey_images_under_another_key(data_dir):
    source, _ = load_sources("simclr_unlabelled_bits", data_dir=data_dir, eval_split=None)
    assert (source.num_classes, source.image_shape) == (0, (4, 5, 3))
    assert sorted(numbers(source)) == [20 * n for n in range(12)]
    assert {int(r["label"]) for r in source.records(None)} == {-1}
    assert "no class labels" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        ("simclr_labelled_bit", {}, "did you mean simclr_labelled_bits"),
        ("cifar01", {}, "Built in are: shapes, folder.*cifar10"),
        ("shape", {}, "did you mean shapes"),
        ("simclr_labelled_bits/none", {}, "none"),
        ("simclr_labelled_bits/fixed", {"eval_split": "dev"}, "has the splits: .*test"),
        ("simclr_labelled_bits/fixed", {"train_split": "train[:x]"}, "has the splits"),
        ("simclr_no_images", {"eval_split": None}, "no images"),
        ("", {}, "shapes, folder"),
    ],
)
def test_bad_input_teaches(data_dir, name, splits, message):
    with pytest.raises(InputError, match=message) as caught:
        load_sources(name, data_dir=data_dir, **splits)
    assert "\n" not in str(caught.value)


def test_without_a_network_nothing_is_tried_for_minutes(tmp_path):
    """The machines of the data set are ones that no network has (RFC 2606)."""
    builder = SimpleNamespace(
        url_infos={"https://data.invalid/a.tar": None, "http://other.invalid/b": None},
        data_path=tmp_path / "cifar10",
        _data_dir_root=str(tmp_path),
    )
    with pytest.raises(InputError, match=r"no network to download it: none of data\.invalid, other\.invalid answers"):
        tfds_builder._prepare(tfds, builder, "cifar10")


def test_a_machine_that_answers_is_found_among_others():
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        assert tfds_builder.any_answers([("data.invalid", 443), place])
    assert not tfds_builder.any_answers([place])


def test_an_input_worker_streams_the_files_in_the_same_order(data_dir):
    """Seeded shuffles of files and of a buffer are the same in another process."""
    source, _ = load_tfds(
        "simclr_labelled_bits/fixed", data_dir=data_dir, train_split="train", eval_split=None, memory_budget=0
    )
    stream = functools.partial(train_batches, source, policy=ViewPolicy.crop_and_flip(6), batch_size=24, seed=3)
    worker = WorkerProcess()
    found = remote_batches([worker.address], lambda dealt: stream(dealt=dealt))
    for one, other in itertools.islice(zip(found, stream(), strict=False), 4):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    worker.kill()
