"""Images that may show several classes: their targets, and that the rest takes them as unlabelled."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_simclr.cli.main import run_task
from tf_simclr.config import build_config
from tf_simclr.data.source import MultiLabel
from tf_simclr.data.subset import class_balanced
from tf_simclr.data.tfds_source import load_tfds
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data

# TFDS looks for the code of a builder in the package it is defined in, and tests are in none.
OUTSIDE_PACKAGES = "simclr_test_builders"
NAMES = ["a", "b", "c"]


def every_class(number):
    """The classes of the image of this grey level: none, one, two or three, by the bits of the number."""
    return [c for c in range(3) if number >> c & 1]


def clear_classes(number):
    """Those that it shows clearly: in images from 32 on, class 1 is difficult."""
    return [c for c in every_class(number) if number < 32 or c != 1]


class SimclrSeveralBits(tfds.core.GeneratorBasedBuilder):
    """Grey images; the config "difficult" tells the clear classes apart as PASCAL VOC does."""

    __module__ = OUTSIDE_PACKAGES
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="difficult", description="two lists"),
        tfds.core.BuilderConfig(name="plain", description="one list"),
    ]

    def _keys(self):
        return ["labels", "labels_no_difficult"][: 2 if self.builder_config.name == "difficult" else 1]

    def _info(self):
        classes = {key: tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)) for key in self._keys()}
        image = tfds.features.Image(shape=(8, 8, 3), encoding_format="png")
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": image, **classes}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 50), "test": self._generate_examples(50, 64)}

    def _generate_examples(self, start, stop):
        for number in range(start, stop):
            image = np.full((8, 8, 3), number, np.uint8)
            found = {"labels": every_class(number), "labels_no_difficult": clear_classes(number)}
            yield number, {"image": image, **{key: found[key] for key in self._keys()}}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def opened(data_dir, config, **options):
    splits = {"train_split": "train", "eval_split": "test"} | options
    return load_tfds(f"simclr_several_bits/{config}", data_dir=data_dir, **splits)


def numbers(source):
    return [round(float(source.decode(record["data"])[0, 0, 0]) * 255) for record in source.records(None)]


@pytest.mark.parametrize("budget", [0, 1 << 30])
@pytest.mark.parametrize("config", ["difficult", "plain"])
def test_targets_are_those_of_the_images_in_canonical_order(data_dir, config, budget):
    for source in opened(data_dir, config, memory_budget=budget):
        targets, seen = source.targets(), numbers(source)
        assert targets.positives.shape == targets.ignored.shape == (len(seen), 3) == (source.num_examples, 3)
        for number, positive, ignored in zip(seen, targets.positives, targets.ignored, strict=True):
            clear = clear_classes(number) if config == "difficult" else every_class(number)
            assert np.flatnonzero(positive).tolist() == clear
            assert np.flatnonzero(ignored).tolist() == sorted(set(every_class(number)) - set(clear))
        if source.load is not None:
            np.testing.assert_array_equal(source.load().targets().positives, targets.positives)


def test_a_slice_has_the_targets_of_its_own_images(data_dir):
    source, _ = opened(data_dir, "plain", train_split="train[10:15]+test[:3]", eval_split=None)
    found = [np.flatnonzero(row).tolist() for row in source.targets().positives]
    assert found == [every_class(number) for number in numbers(source)] and len(found) == 8


def test_the_classes_are_named_and_no_record_has_a_label(data_dir):
    source, _ = opened(data_dir, "difficult")
    assert (source.num_classes, source.class_names, source.labelled) == (3, tuple(NAMES), False)
    assert {int(record["label"]) for record in source.records(5)} == {-1}
    assert "several classes" in source.notes[0]


def test_the_rest_refuses_what_needs_one_class_a_image(data_dir):
    source, _ = opened(data_dir, "plain")
    with pytest.raises(InputError, match=r"one class each. Received: simclr_several_bits/plain"):
        class_balanced(source, per_class=1)
    flags = {"dataset": "simclr_several_bits/plain", "data_dir": data_dir, "image_size": 32}
    with pytest.raises(InputError, match="`train_mode` must be pretrain for images with several classes each"):
        build_data(build_config(flags | {"train_mode": "finetune"}))
    with pytest.raises(InputError, match=r"`untrained_baseline` needs one label an image.*several classes"):
        build_data(build_config(flags | {"untrained_baseline": True}))
    assert build_data(build_config(flags)).train.num_examples == 50


@pytest.mark.whole_runs
def test_pretraining_takes_them_as_unlabelled(data_dir, tmp_path, tiny_flags, capsys):
    flags = ["--dataset=simclr_several_bits/plain", f"--data_dir={data_dir}", "--train_split=train"]
    flags += ["--eval_split=test", "--train_steps=2", f"--model_dir={tmp_path}", "--mode=train_then_eval"]
    assert run_task("train", [*tiny_flags, *flags]) == 0
    said = capsys.readouterr().out
    assert "several classes" in said and "no labels" in said and "nothing to evaluate" in said
    card = json.loads((tmp_path / "saved_model" / "2" / "simclr.json").read_text())
    assert card["num_classes"] == 0 and card["class_names"] == []


@pytest.mark.parametrize(
    "positives,ignored,message",
    [
        (np.zeros([2, 3], bool), np.zeros([2, 2], bool), "`ignored` must be booleans.*shape \\(2, 2\\)"),
        (np.zeros([2, 3]), np.zeros([2, 3], bool), "`positives` must be booleans.*float64"),
        (np.zeros([3], bool), np.zeros([3], bool), "`positives` must be booleans"),
        (np.ones([1, 1], bool), np.ones([1, 1], bool), "`ignored` must be False where"),
    ],
)
def test_targets_that_make_no_sense_are_named(positives, ignored, message):
    with pytest.raises(InputError, match=message):
        MultiLabel(positives, ignored)


def test_some_rows_of_targets():
    targets = MultiLabel(np.eye(3, dtype=bool), np.eye(3, k=1, dtype=bool))
    chosen = targets.rows(np.array([2, 0]))
    assert chosen.positives.tolist() == [[False, False, True], [True, False, False]]
    assert chosen.ignored.tolist() == [[False, False, False], [False, True, False]]
