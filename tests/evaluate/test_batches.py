"""Batches on several replicas and workers: every example once, each with its row in the split."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.data.folders import make_images
from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.read_errors import named
from tf_simclr.data.request import SplitRequest
from tf_simclr.data.shapes import render_shapes, shapes_source
from tf_simclr.errors import InputError
from tf_simclr.evaluate.batches import EvalLoader


def batches_of_worker(count, batch_size, *, replicas, workers, worker):
    """What one worker of a cluster reads: the strategy only hands its context over."""
    context = tf.distribute.InputContext(workers, worker, replicas)
    strategy = types.SimpleNamespace(
        num_replicas_in_sync=replicas, distribute_datasets_from_function=lambda dataset_of: dataset_of(context)
    )
    source = shapes_source(f"train[:{count}]", side=4)
    batches = EvalLoader(strategy, batch_size, 4, 1.0).batches(source)
    return list(batches.as_numpy_iterator())


@pytest.mark.parametrize(
    ("count", "batch_size", "replicas", "workers"),
    [(7, 4, 1, 1), (8, 4, 2, 1), (7, 6, 3, 1), (7, 4, 2, 2), (9, 8, 4, 2), (5, 12, 4, 2), (10, 3, 3, 3)],
)
def test_every_row_once_with_its_image(count, batch_size, replicas, workers):
    images, labels = render_shapes(0, "train", 0, count, 4)
    seen, lengths = [], set()
    for worker in range(workers):
        batches = batches_of_worker(count, batch_size, replicas=replicas, workers=workers, worker=worker)
        lengths.add(len(batches))
        for batch in batches:
            assert batch["row"].shape == (batch_size // replicas,)
            for row, image, label, mask in zip(*(batch[f] for f in ("row", "image", "label", "mask")), strict=True):
                assert (mask == 1) == (row < count)
                if mask:
                    seen.append(row)
                    np.testing.assert_allclose(image, images[row] / 255.0, atol=1e-6)
                    assert label == labels[row]
    assert sorted(seen) == list(range(count))
    # Workers whose numbers of steps differ would wait for each other, and every replica must have its share.
    assert len(lengths) == 1 and lengths.pop() % (replicas // workers) == 0


def test_by_hand():
    """Five images on the second of two workers, which takes every other one: rows 1 and 3, then filling."""
    (batch,) = batches_of_worker(5, 6, replicas=2, workers=2, worker=1)
    assert batch["row"].tolist() == [1, 3, 5] and batch["mask"].tolist() == [1, 1, 0]


def test_a_batch_that_does_not_divide():
    with pytest.raises(InputError, match="multiple of the 3 replicas"):
        batches_of_worker(5, 4, replicas=3, workers=1, worker=0)


# ---- Files ----


@pytest.fixture
def files(tmp_path):
    """Reads the files of a folder of eleven images: the source, and the folder."""
    folder = make_images(tmp_path / "images", [f"{number:02d}.png" for number in range(11)], side=6)
    layout = whole_folder(SplitRequest(data_dir=str(folder)))
    return folder_source(ListedSplit(layout.root, "all", layout.read(""))), folder


@pytest.fixture
def loader():
    return EvalLoader(tf.distribute.OneDeviceStrategy("CPU:0"), 4, 4, 1.0)


def test_files_are_read_without_watch_and_give_the_same_batches(files, loader):
    source, _ = files
    watched = dataclasses.replace(source, decode=lambda data: source.decode(data))
    batches, same = loader.batches(source), list(loader.batches(watched))
    assert len(same) == 3
    for _ in range(2):  # as often as it is iterated over
        for one, other in zip(batches, same, strict=True):
            assert one.keys() == other.keys()
            for name, values in one.items():
                np.testing.assert_array_equal(values, other[name])


def test_a_damaged_file_is_named_after_the_batches_before_it(files, loader):
    source, folder = files
    place = folder / "09.png"
    place.write_bytes(place.read_bytes()[:50])
    seen = []
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        for batch in loader.batches(source):
            seen += batch["row"].numpy().tolist()
    assert seen == list(range(8)) and str(place) in str(named(raised.value))


def test_an_error_that_passes_costs_no_image(files, loader):
    """A file that can be read again when it is read for its name, as on a network disk."""
    source, folder = files
    place = folder / "05.png"
    content = place.read_bytes()
    place.write_bytes(content[:50])
    rows, batches = [], loader.batches(source)
    watched = batches.named

    def repaired():
        place.write_bytes(content)
        return watched()

    for batch in dataclasses.replace(batches, named=repaired):
        rows += batch["row"].numpy().tolist()
    assert rows == list(range(12))
