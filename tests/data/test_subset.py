"""Few labels: how many of each class, which ones, and the same records contract as every source."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tf_simclr.data.chosen_list import read_chosen, write_chosen
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import eval_batches, train_batches
from tf_simclr.data.shapes import SHAPES, shapes_source
from tf_simclr.data.source import ImageSource, records_from_table
from tf_simclr.data.subset import chosen_at_random, class_balanced, hold_out, require_every_class
from tf_simclr.data.tfds_source import load_tfds
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError

NAMES = ("ant", "bee", "cat")


def source_of(labels, index=None, names=NAMES) -> ImageSource:
    """Images of one pixel whose grey level is their index."""
    index = np.arange(len(labels)) if index is None else np.asarray(index)
    return ImageSource(
        name="dots",
        split="train",
        num_examples=len(labels),
        num_classes=len(names),
        class_names=names,
        image_shape=(1, 1, 3),
        records=records_from_table(index, labels, np.tile(index[:, None, None, None], (1, 1, 1, 3)).astype(np.uint8)),
        decode=lambda pixels: tf.cast(pixels, tf.float32) / 255.0,
    )


def sorted_by_class(*sizes):
    return source_of(np.repeat(np.arange(len(sizes)), sizes), names=tuple(f"class {i}" for i in range(len(sizes))))


def identities(source, seed=None):
    return [(int(r["index"]), int(r["label"])) for r in source.records(seed)]


# ---- How many ----


def shared_out_one_by_one(total, sizes):
    """The naive way: everybody who has some left gives one, round after round; sorted, as the last round is random."""
    counts = [0] * len(sizes)
    while total:
        able = [i for i in range(len(sizes)) if counts[i] < sizes[i]]
        for i in able[:total]:
            counts[i] += 1
        total -= min(total, len(able))
    return counts


@pytest.mark.parametrize("sizes", [(20, 20, 20), (1, 1, 50), (7, 7, 8, 9)])
@pytest.mark.parametrize("fraction", [0.15, 0.5, 0.9, 1.0])
def test_a_fraction_is_shared_out_as_equally_as_possible(sizes, fraction):
    total = round(fraction * sum(sizes))
    wanted = shared_out_one_by_one(total, sizes)
    counts = class_balanced(sorted_by_class(*sizes), fraction=fraction, seed=5).counts
    # Which classes have the one more is drawn, so the numbers are compared as a whole.
    assert collections.Counter(counts) == collections.Counter(wanted)
    assert sum(counts) == total and all(c <= s for c, s in zip(counts, sizes, strict=True))


@pytest.mark.parametrize(
    ("sizes", "fraction", "wanted"),
    [((10, 10, 10), 0.3, (3, 3, 3)), ((2, 10, 18), 0.5, (2, 6, 7)), ((1, 5, 6), 1.0, (1, 5, 6))],
)
def test_numbers_by_hand(sizes, fraction, wanted):
    counts = class_balanced(sorted_by_class(*sizes), fraction=fraction).counts
    assert counts[0] == wanted[0] and sorted(counts) == sorted(wanted)


def test_one_percent_of_a_data_set_shaped_like_imagenet_is_12_or_13_of_a_class():
    # 12.81 of a class on average as there, but out of ten times fewer and with ten times fewer classes.
    source = sorted_by_class(*[128] * 88, *[129] * 12)
    counts = class_balanced(source, fraction=0.1).counts
    assert sum(counts) == round(0.1 * source.num_examples) == 1281
    assert collections.Counter(counts) == {12: 19, 13: 81}


def test_who_has_the_one_more_depends_on_the_seed():
    source = sorted_by_class(10, 10, 10, 10)
    found = {class_balanced(source, fraction=0.125, seed=seed).counts for seed in range(8)}
    assert len(found) > 1 and all(sorted(counts) == [1, 1, 1, 2] for counts in found)


def test_per_class():
    subset = class_balanced(sorted_by_class(4, 9, 5), per_class=4, seed=1)
    assert subset.counts == (4, 4, 4) and subset.source.num_examples == 12
    assert set(range(4)) < set(subset.indices)  # all that the smallest class has


# ---- Which ----


def test_the_choice_depends_on_the_seed_and_not_on_the_order():
    labels = np.random.default_rng(0).integers(0, 3, 60)
    source = source_of(labels)
    order = np.random.default_rng(1).permutation(60)
    shuffled = source_of(labels[order], index=order)
    first = class_balanced(source, per_class=5, seed=3)
    assert first.indices == class_balanced(shuffled, per_class=5, seed=3).indices
    assert first.indices != class_balanced(source, per_class=5, seed=4).indices
    assert first.source.split != class_balanced(source, per_class=5, seed=4).source.split
    assert list(first.indices) == sorted(first.indices)
    assert [labels[i] for i in first.indices] == list(first.labels)
    # A negative seed is a seed, too.
    assert class_balanced(source, per_class=5, seed=-1).indices != first.indices


def test_smaller_choices_are_part_of_larger_ones():
    source = sorted_by_class(5, 40, 23)
    steps = [set(class_balanced(source, fraction=f, seed=2).indices) for f in (0.05, 0.1, 0.2, 0.6, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(steps))


def test_every_example_is_as_likely_as_another():
    subset = class_balanced(sorted_by_class(*[3] * 300), per_class=1)
    places = np.bincount(np.array(subset.indices) % 3, minlength=3)
    # Binomial(300, 1/3): 100 +- 8; four standard deviations.
    assert np.abs(places - 100).max() < 33


def test_examples_without_a_label_or_an_identity_are_never_chosen():
    source = source_of([0, 0, 1, 1, 2, 2, -1, 0], index=[10, 11, 12, 13, 14, 15, 16, 10])
    subset = class_balanced(source, fraction=1.0)
    assert subset.indices == (11, 12, 13, 14, 15) and subset.counts == (1, 2, 2)
    assert identities(subset.source) == [(11, 0), (12, 1), (13, 1), (14, 2), (15, 2)]


# ---- Every kind of source ----


class SimclrSubsetBits(tfds.core.GeneratorBasedBuilder):
    """Images whose grey level is their number and whose class is its remainder."""

    __module__ = "simclr_test_builders"  # TFDS looks for code in the package of a builder, and tests are in none
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(4, 4, 3), encoding_format="png")
        features = {"image": image, "label": tfds.features.ClassLabel(names=list(NAMES))}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(36):
            yield number, {"image": np.full((4, 4, 3), number * 7, np.uint8), "label": number % 3}


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def make_folder(root):
    for number in range(36):
        path = root / "train" / NAMES[number % 3] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number * 7, np.uint8)).save(path)
    return str(root)


@pytest.fixture(params=["table", "shapes", "folder", "tfds in memory", "tfds streamed", "tfds streamed, kept so"])
def case(request, tmp_path, tfds_dir):
    """A source of each kind, and the memory budget of its subset."""
    kind = request.param
    if kind == "table":
        return source_of(np.arange(36) % 3), 1
    if kind == "shapes":
        return shapes_source("train[64:128]", side=8), 1
    if kind == "folder":
        return load_sources("folder", data_dir=make_folder(tmp_path), eval_split=None)[0], 1 << 20
    if kind == "tfds in memory":
        return load_sources("simclr_subset_bits", data_dir=tfds_dir, eval_split=None)[0], 1
    streamed, _ = load_tfds(
        "simclr_subset_bits",
        data_dir=tfds_dir,
        train_split="train",
        eval_split=None,
        memory_budget=0,
        shuffle_buffer=8,
    )
    return streamed, 1 if "kept so" in kind else 1 << 20


def images(source, seed=None):
    return {int(r["index"]): source.decode(r["data"]).numpy() for r in source.records(seed)}


def test_records_of_every_kind_of_source(case):
    whole, budget = case
    subset = class_balanced(whole, per_class=4, seed=7, memory_budget=budget)
    few = subset.source
    wanted = dict(zip(subset.indices, subset.labels, strict=True))
    assert len(wanted) == few.num_examples == 4 * whole.num_classes
    assert collections.Counter(subset.labels) == dict.fromkeys(range(whole.num_classes), 4)
    canonical = [pair for pair in identities(whole) if pair[0] in wanted]
    assert identities(few) == canonical and dict(canonical) == wanted
    assert sorted(identities(few, 5)) == sorted(canonical)
    assert identities(few, 5) == identities(few, 5) != identities(few, 6)
    assert (few.class_names, few.num_classes, few.image_shape) == (
        whole.class_names,
        whole.num_classes,
        whole.image_shape,
    )
    all_images = images(whole)
    for index, image in images(few, 1).items():
        np.testing.assert_array_equal(image, all_images[index])


def test_it_can_be_held_in_memory(case):
    whole, budget = case
    few = class_balanced(whole, per_class=4, seed=7, memory_budget=budget).source
    held = few if few.load is None else few.load()
    assert held.load is None
    assert identities(held) == identities(few)
    wanted = images(few)
    for index, image in images(held, 2).items():
        np.testing.assert_array_equal(image, wanted[index])
    # In batches, too, where shapes are static.
    (batch,) = eval_batches(held, image_size=4, batch_size=few.num_examples, eval_crop=1.0)
    assert batch["label"].numpy().tolist() == [label for _, label in identities(few)]


def test_what_is_streamed_and_what_is_held(case):
    whole, budget = case
    few = class_balanced(whole, per_class=4, memory_budget=budget).source
    streamed_beyond_budget = budget == 1 and whole.load is not None
    assert (few.load is not None) == (streamed_beyond_budget or whole.read is not None)


def test_a_folder_that_is_held_needs_its_files_no_more(tmp_path):
    whole, _ = load_sources("folder", data_dir=make_folder(tmp_path), eval_split=None)
    few = class_balanced(whole, per_class=2).source
    wanted, held = images(few), few.load()
    for file in (tmp_path / "train").rglob("*.png"):
        file.unlink()
    np.testing.assert_equal(images(held), wanted)
    with pytest.raises(tf.errors.NotFoundError):
        images(few)


def test_training_batches_of_a_subset():
    few = class_balanced(shapes_source("train[:64]", side=8), per_class=1).source
    batches = train_batches(few, policy=ViewPolicy.crop_and_flip(8), batch_size=len(SHAPES), seed=0, num_views=1)
    for batch in batches.take(2):
        assert sorted(batch["label"].numpy()) == list(range(len(SHAPES)))


# ---- Whatever their classes ----


def test_at_random_the_rare_class_stays_rare():
    source = sorted_by_class(900, 100)
    chosen = chosen_at_random(source, 300, seed=1)
    assert len(set(chosen.indices)) == chosen.source.num_examples == 300
    assert 15 <= chosen.counts[1] <= 45  # 30 are expected, with a standard deviation of 4.3
    assert set(chosen_at_random(source, 100, seed=1).indices) < set(chosen.indices)
    assert chosen_at_random(source, 300, seed=2).indices != chosen.indices
    assert chosen_at_random(source, 5000).indices == tuple(range(1000))


def test_at_random_only_what_has_a_label_is_chosen():
    source = source_of([0, -1, 1, -1, 0, 2])
    assert chosen_at_random(source, 100).indices == (0, 2, 4, 5)
    for bad, number, message in [(source, 0, "`number` must be >= 1"), (source_of([-1, -1]), 1, "with a label")]:
        with pytest.raises(InputError, match=message):
            chosen_at_random(bad, number)


# ---- Lists ----


def test_a_written_list_gives_the_same_subset(case, tmp_path):
    whole, budget = case
    subset = class_balanced(whole, per_class=3, seed=11, memory_budget=budget)
    path = str(tmp_path / "chosen.json")
    write_chosen(path, subset)
    again = read_chosen(path, whole, memory_budget=budget)
    assert (again.indices, again.labels, again.source.split) == (subset.indices, subset.labels, subset.source.split)
    assert identities(again.source, 3) == identities(subset.source, 3)


def test_the_list_is_for_people_and_programs(tmp_path):
    path = tmp_path / "chosen.json"
    write_chosen(str(path), class_balanced(source_of([2, 0, 1], index=[5, 9, 7]), per_class=1))
    values = json.loads(path.read_text())
    assert values["chosen"] == [
        {"index": 5, "label": 2, "class": "cat"},
        {"index": 7, "label": 1, "class": "bee"},
        {"index": 9, "label": 0, "class": "ant"},
    ]
    assert (values["dataset"], values["num_examples"]) == ("dots", 3)


def test_the_order_of_a_list_does_not_matter(tmp_path):
    source, path = source_of(np.arange(12) % 3), tmp_path / "chosen.json"
    subset = class_balanced(source, per_class=2)
    write_chosen(str(path), subset)
    values = json.loads(path.read_text())
    values["chosen"].reverse()
    path.write_text(json.dumps(values))
    assert read_chosen(str(path), source).indices == subset.indices


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (source_of(np.arange(13) % 3), "12 examples, for 'train' with 13"),
        (source_of(np.zeros(12, np.int64)), "example .* is class . '(bee|cat)'; 'train' has class 0 'ant'"),
        (source_of(np.arange(12) % 3, index=np.arange(12) + 100), "has nothing under this index"),
        (source_of(np.arange(12) % 3, index=np.arange(12) - 100), "has nothing under this index"),
        (source_of(np.arange(12) % 3, names=("ant", "bee", "dog")), "2 'cat'; 'train' has class 2 'dog'"),
        (dataclasses.replace(source_of([-1] * 12), num_classes=0, class_names=()), "with labels"),
    ],
)
def test_a_list_of_another_split(tmp_path, other, message):
    path = str(tmp_path / "chosen.json")
    write_chosen(path, class_balanced(source_of(np.arange(12) % 3), per_class=2))
    with pytest.raises(InputError, match=message) as caught:
        read_chosen(path, other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1, "num_examples": 3, "chosen": []}',
        '{"format": 9, "num_examples": 3, "chosen": [{"index": 1, "label": 1, "class": "bee"}]}',
        '{"format": 1, "num_examples": 3, "chosen": [{"index": 1}]}',
        '{"format": 1, "num_examples": 3, "chosen": [{"index": "1", "label": 1, "class": "bee"}]}',
        '{"format": 1, "num_examples": 3, "chosen": [{"index": 1, "label": 1, "class": "bee"},'
        ' {"index": 1, "label": 1, "class": "bee"}]}',
        '{"format": 1, "chosen": [{"index": 1, "label": 1, "class": "bee"}]}',
    ],
)
def test_what_is_no_list(tmp_path, text):
    path = tmp_path / "chosen.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"as `write_chosen` writes it.*chosen\.json"):
        read_chosen(str(path), source_of([0, 1, 2]))


def test_no_list_at_all(tmp_path):
    with pytest.raises(InputError, match=r"check the path.*gone\.json"):
        read_chosen(str(tmp_path / "gone.json"), source_of([0, 1, 2]))


# ---- Bad input ----

UNLABELLED = dataclasses.replace(source_of([-1, -1]), num_classes=0, class_names=())


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (sorted_by_class(4, 4), {}, "Either `fraction` or `per_class`"),
        (sorted_by_class(4, 4), {"fraction": 0.5, "per_class": 1}, "Either `fraction` or `per_class`"),
        (sorted_by_class(4, 4), {"fraction": 0.0}, "`fraction` must be > 0 and <= 1"),
        (sorted_by_class(4, 4), {"fraction": 1.5}, "`fraction` must be > 0 and <= 1"),
        (sorted_by_class(4, 4), {"per_class": 0}, "`per_class` must be >= 1"),
        (UNLABELLED, {"per_class": 1}, "split with labels"),
        (source_of([0, 0, 2]), {"per_class": 1}, "without any of 'bee'"),
        (source_of([-1, -1]), {"fraction": 0.5}, "without any of 'ant', 'bee', 'cat'"),
        (sorted_by_class(4, 2, 1), {"per_class": 3}, "2 of 'class 1', 1 of 'class 2'. Pass per_class=1"),
        (sorted_by_class(*[5] * 12), {"fraction": 0.001}, "0 of 60 examples for 12 classes: .* and 4 more"),
        (sorted_by_class(5, 5, 5), {"fraction": 0.1}, "2 of 15 examples for 3 classes: none of 'class .'"),
    ],
)
def test_bad_input_teaches(source, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        class_balanced(source, **arguments)
    assert "\n" not in str(caught.value)


# ---- Parts of a split ----


def test_hold_out_keeps_the_shares_of_the_classes():
    source = shapes_source("train[:200]")
    kept, held = hold_out(source, 0.25, seed=3)
    assert set(kept.indices).isdisjoint(held.indices)
    assert sorted(kept.indices + held.indices) == list(range(200))
    sizes = np.bincount([int(record["label"]) for record in source.records(None)])
    assert held.counts == tuple(np.round(0.25 * sizes).astype(int))
    assert held.source.num_examples == len(held.indices)
    assert hold_out(source, 0.25, seed=3)[1].indices == held.indices
    assert hold_out(source, 0.25, seed=4)[1].indices != held.indices


def test_hold_out_leaves_one_of_each_class_on_both_sides():
    kept, held = hold_out(shapes_source("train[:60]"), 0.001)
    assert min(kept.counts) >= 1
    assert held.counts == (1,) * 10
    with pytest.raises(InputError, match="at most one of"):
        hold_out(shapes_source("train[:10]"), 0.1)
    with pytest.raises(InputError, match="`fraction` must be > 0 and < 1"):
        hold_out(shapes_source("train[:60]"), 1.0)


def test_every_class_is_required():
    require_every_class(shapes_source("train[:60]"))
    with pytest.raises(InputError, match="without any"):
        require_every_class(shapes_source("train[:4]"))
