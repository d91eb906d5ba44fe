"""The batches: every example once an epoch, the same whatever the parallelism, the shards and the resumption."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.config import read_augmentation
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import eval_batches, train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy, make_view
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import example_key
from tf_simclr.ops.image import center_crop, resize

SIZE = 8
# Colour and blur take seconds to trace, and matter only where views are compared with those of one image.
POLICY = ViewPolicy.crop_and_flip(SIZE)
FULL = ViewPolicy(image_size=SIZE)
ONE_BRANCH = ViewPolicy.composed(SIZE, read_augmentation("crop,flip,color_drop@1"), one_branch=True)
EPOCHS_IN_BATCHES = 23  # 23 batches of 4 are 4 epochs of 23


@pytest.fixture(scope="module")
def small():
    """Images of one size, cropped as batches."""
    return shapes_source("train[:23]")


@pytest.fixture(scope="module")
def large():
    """Images of one size, but too large for cropping as batches."""
    return shapes_source("train[:23]", side=72)


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A class-sorted folder of images of many sizes."""
    root = tmp_path_factory.mktemp("varied")
    generator = np.random.default_rng(0)
    for number in range(23):
        pixels = generator.integers(0, 256, (9 + number % 5, 12 - number % 3, 3), np.uint8)
        path = root / "train" / f"class{number // 8}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return load_sources("folder", data_dir=str(root), eval_split=None)[0]


@pytest.fixture(params=["small", "varied"])
def source(request):
    return request.getfixturevalue(request.param)


def collect(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def train(source, count, **arguments):
    arguments = {"policy": POLICY, "batch_size": 4, "seed": 1} | arguments
    return collect(train_batches(source, **arguments), count)


@pytest.fixture(scope="module")
def stream():
    """The first batches of a source as `train` makes them by default; each stream is made once a module."""
    made = {}

    def batches_of(source, count):
        if id(source) not in made:
            made[id(source)] = source, train(source, EPOCHS_IN_BATCHES)
        return made[id(source)][1][:count]

    return batches_of


def decoded(source):
    """The records in canonical order, each with its image."""
    records = source.records(None).map(lambda r: r | {"image": source.decode(r["data"])})
    return list(records.as_numpy_iterator())


def assert_same(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


# ---- Training ----


@pytest.mark.parametrize("crop", [0.875, 1.0])
def test_the_first_images_come_as_evaluation_sees_them_too(source, stream, crop):
    """And the views are what they are without."""
    evaluated = collect(eval_batches(source, image_size=SIZE, batch_size=23, eval_crop=crop), 1)[0]["image"]
    for batch, without in zip(train(source, 3, plain=3, eval_crop=crop), stream(source, 3), strict=True):
        assert batch["plain"].shape == (3, SIZE, SIZE, 3)
        np.testing.assert_allclose(batch["plain"], evaluated[batch["index"][:3]], atol=1e-6)
        np.testing.assert_array_equal(batch["views"], without["views"])
        assert "plain" not in without
    with pytest.raises(InputError, match="plain"):
        train(source, 1, plain=5)


def test_shapes_and_ranges_are_static_and_right(source, stream):
    spec = train_batches(source, policy=POLICY, batch_size=4, num_views=3, seed=0).element_spec
    assert [tuple(v.shape) for v in spec["views"]] == [(4, SIZE, SIZE, 3)] * 3
    assert {k: (tuple(s.shape), s.dtype) for k, s in spec.items() if k != "views"} == {
        k: ((4,), tf.int64) for k in ("label", "index", "epoch")
    }
    (batch,) = stream(source, 1)
    views = np.stack(batch["views"])
    assert views.dtype == np.float32 and views.min() >= 0 and views.max() <= 1
    assert np.abs(views[0] - views[1]).max(axis=(1, 2, 3)).min() > 0.01


def test_every_example_once_an_epoch_and_batches_run_across_its_end(source, stream):
    batches = stream(source, EPOCHS_IN_BATCHES)
    index = np.concatenate([b["index"] for b in batches])
    epoch = np.concatenate([b["epoch"] for b in batches])
    np.testing.assert_array_equal(epoch, np.repeat(np.arange(4), 23))
    orders = index.reshape(4, 23)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(23), (4, 1)))
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("policy", [FULL, ONE_BRANCH], ids=["both", "one_branch"])
@pytest.mark.parametrize("name", ["small", "large", "varied"])
def test_views_are_a_function_of_seed_epoch_example_and_view(name, policy, request):
    source = request.getfixturevalue(name)
    records = {r["index"]: r for r in decoded(source)}
    for batch in train(source, 7, seed=9, policy=policy)[5:]:  # the epoch changes within
        for row, (index, epoch) in enumerate(zip(batch["index"], batch["epoch"], strict=True)):
            assert batch["label"][row] == records[index]["label"]
            for view in range(2):
                wanted = make_view(policy, records[index]["image"], example_key(9, epoch, index, view))
                # The crop of a batch and that of one image differ by rounding.
                np.testing.assert_allclose(batch["views"][view][row], wanted, atol=1e-4)


def test_seed_decides_order_and_views(small, stream):
    first = stream(small, 3)
    assert_same(first, train(small, 3))
    other = train(small, 3, seed=2)
    assert any((a["index"] != b["index"]).any() for a, b in zip(first, other, strict=True))


def test_resumption_goes_on_exactly(source, stream):
    uninterrupted = stream(source, 19)
    for start in (5, 6, 17):  # within the first epoch, across its end, and in the third
        assert_same(uninterrupted[start : start + 2], train(source, 2, start_step=start))


def test_resumption_with_every_augmentation(small):
    assert_same(train(small, 7, policy=FULL)[6:], train(small, 1, start_step=6, policy=FULL))


def test_shards_together_are_the_global_stream(source):
    whole = train(source, 8, batch_size=6)
    shards = [train(source, 8, batch_size=2, shard=(3, i)) for i in range(3)]
    for step, batch in enumerate(whole):
        for worker in range(3):
            part = shards[worker][step]
            for field in ("index", "epoch", "label"):
                np.testing.assert_array_equal(part[field], batch[field][worker::3])
            for view in range(2):
                # Matrix products of another batch size may round otherwise.
                np.testing.assert_allclose(part["views"][view], batch["views"][view][worker::3], atol=1e-5)
    assert_same(shards[2][3:5], train(source, 2, batch_size=2, shard=(3, 2), start_step=3))


def test_parallelism_changes_nothing(source):
    assert_same(train(source, 8, parallelism=1), train(source, 8, parallelism=4))


def test_cache_changes_nothing(varied, stream):
    assert_same(stream(varied, 8), train(varied, 8, cache=True))


def test_iterators_that_are_given_up_end_at_once(small):
    # tf.data's autotuning thread sleeps for up to a minute, and an iterator may wait for it.
    evaluation = eval_batches(small, image_size=SIZE, batch_size=5, eval_crop=1.0)
    for batches in (train_batches(small, policy=POLICY, batch_size=4, seed=1), evaluation):
        assert not batches.options().autotune.enabled


def test_global_seed_changes_nothing(small, stream):
    first = stream(small, 2)
    tf.random.set_seed(123)
    assert_same(first, train(small, 2))


def test_class_sorted_folder_gives_mixed_batches(varied):
    labels = [set(b["label"]) for b in train(varied, 5, batch_size=8)]
    assert all(len(classes) > 1 for classes in labels)


def test_one_view(small):
    (batch,) = train(small, 1, num_views=1)
    assert len(batch["views"]) == 1


def test_a_batch_may_be_as_large_as_the_data_but_not_larger(small):
    train(small, 1, batch_size=23)
    for arguments in ({"batch_size": 24}, {"batch_size": 8, "shard": (3, 0)}):
        with pytest.raises(InputError, match=r"23 images.*global batch of 24.*--train_batch_size"):
            train(small, 1, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"batch_size": 0}, {"num_views": 0}, {"start_step": -1}, {"shard": (2, 2)}],
)
def test_bad_numbers_teach(small, arguments):
    with pytest.raises(InputError, match="Received"):
        train(small, 1, **arguments)


# ---- Evaluation ----


@pytest.mark.parametrize("eval_crop", [1.0, 0.875, 0.6])
def test_evaluation_sees_every_example_once_in_order(source, eval_crop):
    batches = collect(eval_batches(source, image_size=SIZE, batch_size=5, eval_crop=eval_crop), 99)
    assert len(batches) == 5 and {b["image"].shape for b in batches} == {(5, SIZE, SIZE, 3)}
    mask = np.concatenate([b["mask"] for b in batches])
    np.testing.assert_array_equal(mask, [1.0] * 23 + [0.0] * 2)
    images = np.concatenate([b["image"] for b in batches])
    labels = np.concatenate([b["label"] for b in batches])
    for row, record in enumerate(decoded(source)):
        image, shape = tf.constant(record["image"]), (SIZE, SIZE)
        wanted = resize(image, shape) if eval_crop == 1 else center_crop(image, shape, eval_crop)
        np.testing.assert_allclose(images[row], wanted, atol=1e-6)
        assert labels[row] == int(record["label"])
    assert (images[23:] == 0).all() and (labels[23:] == -1).all()
    assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("batch_size", [4, 11, 12])
def test_evaluation_shards_have_equally_many_batches(small, workers, batch_size):
    arguments = {"image_size": SIZE, "batch_size": batch_size, "eval_crop": 1.0}
    whole = collect(eval_batches(small, **arguments), 99)
    shards = [collect(eval_batches(small, shard=(workers, i), **arguments), 99) for i in range(workers)]
    assert len({len(batches) for batches in shards}) == 1

    def seen(batches):
        return [image.tobytes() for b in batches for image in b["image"][b["mask"] > 0]]

    assert sorted(itertools.chain(*map(seen, shards))) == sorted(seen(whole))


def test_evaluation_at_the_images_own_size_leaves_them_alone(small):
    (batch,) = collect(eval_batches(small, image_size=48, batch_size=23, eval_crop=1.0), 99)
    for image, record in zip(batch["image"], decoded(small), strict=True):
        np.testing.assert_array_equal(image, record["image"])


def test_evaluation_rejects_bad_numbers(small):
    for arguments in ({"batch_size": 0}, {"shard": (1, 1)}, {"eval_crop": 0.0}, {"eval_crop": 1.1}):
        with pytest.raises(InputError, match="Received"):
            eval_batches(small, **{"image_size": SIZE, "batch_size": 4, "eval_crop": 1.0} | arguments)
