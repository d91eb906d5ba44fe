"""Blocks of images for other processes, and what a prepared folder stores of them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from tests.data.folders import class_folders, make_images
from tf_simclr.data.blocks import between, read_block, write_blocks
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.listing import ListedSplit, part_of
from tf_simclr.data.prepare_blocks import shrink_block, shrunk_elsewhere
from tf_simclr.data.prepare_images import shrunk_images
from tf_simclr.data.read_errors import named
from tf_simclr.data.request import SplitRequest
from tf_simclr.tasks import prepare


def listed(folder, **request):
    layout = whole_folder(SplitRequest(data_dir=str(folder), **request))
    return ListedSplit(layout.root, "", layout.read(""))


def same(one, other):
    listings = [
        (part.listing.files, part.listing.labels, part.listing.classes, part.listing.reading, part.listing.shards)
        for part in (one, other)
    ]
    assert [list(map(list, values[:2])) for values in listings[:1]] == [list(map(list, listings[1][:2]))]
    assert listings[0][2:] == listings[1][2:] and (one.root, one.split) == (other.root, other.split)


@pytest.fixture
def folder(tmp_path):
    names = class_folders({"a": 4, "b": 3})
    return make_images(tmp_path / "images", [*names, 'b/a name, with "signs".png', os.fsdecode(b"b/\xff.png")], side=9)


def test_a_block_says_all_that_a_listing_does(folder, tmp_path):
    whole = listed(folder, decoder="pillow", on_bad_image="skip")
    paths = write_blocks(str(tmp_path / "block-"), whole, 4, first=5)
    assert [os.path.basename(path) for path in paths] == [f"block-{number:06d}.json" for number in (5, 6, 7)]
    for number, path in enumerate(paths):
        chosen = np.arange(9) // 4 == number
        same(read_block(path), ListedSplit(whole.root, "", part_of(whole.listing, chosen)))
        same(read_block(path), between(whole, 4 * number, 4 * number + 4))


def test_a_block_of_a_prepared_folder(folder, tmp_path):
    prepare(data_dir=folder, out=tmp_path / "out")
    whole = listed(tmp_path / "out")
    assert whole.listing.shards is not None
    same(read_block(write_blocks(str(tmp_path / "block-"), whole, 100)[0]), whole)


def shrunk_by_workers(whole, tmp_path, side):
    (tmp_path / "shared").mkdir(exist_ok=True)
    prefix = str(tmp_path / "shared" / "block-")
    return list(shrunk_elsewhere(whole, side, prefix, lambda blocks: [shrink_block(block, side) for block in blocks]))


def test_workers_reduce_images_as_one_process_does(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_simclr.data.prepare_blocks.IMAGES_OF_A_BLOCK", 4)
    whole = listed(folder)
    found = shrunk_by_workers(whole, tmp_path, 8)
    assert len(found) == 9 and found == list(shrunk_images(whole, 8))
    assert not [path for path in (tmp_path / "shared").iterdir() if path.suffix != ".json"]


def test_a_damaged_image_is_named_or_left_out(folder, tmp_path):
    place = folder / "b" / "001.png"
    place.write_bytes(place.read_bytes()[:50])
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        shrunk_by_workers(listed(folder), tmp_path, 8)
    assert str(place) in str(named(raised.value))
    whole = listed(folder, on_bad_image="skip")
    found = shrunk_by_workers(whole, tmp_path, 8)
    assert [change for _, change in found].count(-1) == 1 and found == list(shrunk_images(whole, 8))
