"""--on_bad_image=skip: the damaged images of a split are found before the work, and left out of everything."""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.data.bad_images import without_bad_images
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import eval_batches, train_batches
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError


def make(root, number, damaged=()):
    """Unlabelled images whose grey level is their number."""
    root.mkdir()
    for one in range(number):
        path = root / f"{one:03d}.png"
        Image.fromarray(np.full((9, 9, 3), one, np.uint8)).save(path)
        if one in damaged:
            path.write_bytes(path.read_bytes()[:50])
    return str(root)


def levels(source):
    batches = eval_batches(source, image_size=8, batch_size=16, eval_crop=1.0)
    images, masks = zip(*((batch["image"], batch["mask"]) for batch in batches), strict=True)
    return np.rint(np.concatenate(images)[np.concatenate(masks) > 0].mean((1, 2, 3)) * 255).astype(int).tolist()


def open_folder(root, on_bad_image):
    return load_sources("folder", data_dir=root, eval_split=None, on_bad_image=on_bad_image)[0]


@pytest.mark.parametrize("cache", [False, True])
def test_evaluation_has_every_good_image_once(tmp_path, cache):
    source = open_folder(make(tmp_path / "images", 200, damaged=(7, 130)), "skip")
    source = source.load() if cache else source
    assert source.num_examples == 198
    assert levels(source) == [number for number in range(200) if number not in (7, 130)]
    note = source.notes[-1]
    assert "left out 2 of 200" in note and "007.png" in note and "130.png" in note


def test_views_of_the_others_are_what_they_were(tmp_path):
    """Each view is a function of seed, epoch and example; batches stay full."""
    whole = open_folder(make(tmp_path / "whole", 120), "error")
    part = open_folder(make(tmp_path / "part", 120, damaged=(5,)), "skip")

    def views(source, batch, steps):
        found = {}
        for one in train_batches(source, policy=ViewPolicy(image_size=8), batch_size=batch, seed=3).take(steps):
            assert one["views"][0].shape[0] == batch
            found |= {
                (int(epoch), int(index)): view.numpy()
                for epoch, index, view in zip(one["epoch"], one["index"], one["views"][0], strict=True)
            }
        return found

    want, got = views(whole, 60, 2), views(part, 17, 7)
    assert len(got) == 119 and (0, 5) not in got
    for key, view in got.items():
        np.testing.assert_array_equal(view, want[key])


def test_labels_stay_with_their_images(tmp_path):
    for name, first in (("a", 0), ("b", 100)):
        (tmp_path / name).mkdir()
        for number in range(first, first + 100):
            Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(tmp_path / name / f"{number:03d}.png")
    damaged = tmp_path / "a" / "050.png"
    good, _ = load_sources("folder", data_dir=str(tmp_path), eval_split=None)
    assert any(b"050.png" in record["data"].numpy() for record in good.records(None)), "it is in the training split"
    damaged.write_bytes(damaged.read_bytes()[:50])
    train, evaluation = load_sources("folder", data_dir=str(tmp_path), on_bad_image="skip")
    assert train.num_examples + evaluation.num_examples == 199
    for source in (train, evaluation):
        decode = source.decode
        levels = source.records(None).map(
            lambda one, decode=decode: (tf.reduce_mean(decode(one["data"])), one["label"])
        )
        for mean, label in levels.as_numpy_iterator():
            level = round(float(mean) * 255)
            assert label == level // 100 and level != 50


def test_more_than_a_hundredth_is_an_error_that_names_ten(tmp_path):
    root = make(tmp_path / "images", 100, damaged=range(12))
    with pytest.raises(InputError, match="12 of 100") as caught:
        open_folder(root, "skip")
    assert "009.png" in str(caught.value) and "010.png" not in str(caught.value) and "and 2 more" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert open_folder(root, "error").num_examples == 100


def test_a_good_split_stays_as_it_is(tmp_path):
    source = open_folder(make(tmp_path / "images", 5), "error")
    assert without_bad_images(source) is source
    shapes = load_sources("shapes", train_split="train[:20]", eval_split=None)[0]
    assert without_bad_images(shapes) is shapes


def test_the_fingerprint_and_the_names_follow(tmp_path):
    source = open_folder(make(tmp_path / "images", 100, damaged=(3,)), "error")
    source = dataclasses.replace(source, fingerprint="whole", names=lambda: tuple(map(str, range(100))))
    part = without_bad_images(source)
    assert part.names() == tuple(str(number) for number in range(100) if number != 3)
    assert part.fingerprint not in ("whole", "") and part.split == source.split


def test_a_file_that_vanishes_later_is_an_error_with_its_name(tmp_path):
    root = make(tmp_path / "images", 20)
    source = open_folder(root, "skip")
    os.remove(os.path.join(root, "004.png"))
    with pytest.raises(tf.errors.NotFoundError, match=r"004\.png"):
        levels(source)


# ---- Images that their headers refuse ----


def huge(path):
    """A png of more pixels than are ever decoded; its header is all there is."""
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 70_000, 70_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(bytes(content))


@pytest.fixture
def with_huge(tmp_path):
    for place, number in (("cat", 150), ("dog", 150)):
        make(tmp_path / place, number)
    for name in ("cat/003.png", "dog/140.png"):
        huge(tmp_path / name)
    return str(tmp_path)


def test_images_that_cannot_be_decoded_are_all_counted(with_huge):
    with pytest.raises(InputError) as caught:
        open_folder(with_huge, "error")
    text = str(caught.value)
    assert "70000 x 70000 pixels" in text and "make it smaller" in text and "cat/003.png" in text
    assert "1 other image" in text and "dog/140.png" in text and "--on_bad_image=skip" in text


def test_images_that_cannot_be_decoded_are_left_out_as_damaged_ones_are(tmp_path):
    for place in ("cat", "dog"):
        make(tmp_path / place, 150)
    names = open_folder(str(tmp_path), "error").names()
    for name in names[:2]:
        huge(tmp_path / name)
    source = open_folder(str(tmp_path), "skip")
    assert source.names() == names[2:] and f"left out 2 of {len(names)}" in source.notes[-1]
    huge(tmp_path / names[2])
    with pytest.raises(InputError, match="`on_bad_image` skip leaves out up to 1%"):
        open_folder(str(tmp_path), "skip")


def test_an_image_of_no_class_may_be_of_any_kind(with_huge):
    """It is not read."""
    for name in ("cat/003.png", "dog/140.png"):
        os.replace(os.path.join(with_huge, name), os.path.join(with_huge, os.path.basename(name)))
    source = open_folder(with_huge, "error")
    assert any("ignored 2 images outside the class folders" in note for note in source.notes)


def test_a_table_need_not_name_images_that_cannot_be_decoded(with_huge, tmp_path):
    rows = [f"cat/{number:03d}.png,{number % 2}" for number in range(150) if number != 3]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label", *rows]))
    assert load_sources("folder", data_dir=with_huge, labels=str(table), eval_split=None)[0].num_classes == 2
    table.write_text("\n".join(["path,label", *rows, "cat/003.png,1"]))
    with pytest.raises(InputError, match="This image cannot be decoded"):
        load_sources("folder", data_dir=with_huge, labels=str(table), eval_split=None)
