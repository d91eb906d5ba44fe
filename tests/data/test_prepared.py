"""A prepared folder is read as the folder that it was made of."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tests.data.folders import class_folders, make_images
from tf_simclr.data import prepare_images
from tf_simclr.data.datasets import load_splits
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.memory import HeldLevels, held
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.prepare_images import records_names, write_prepared
from tf_simclr.data.prepared import PREPARED_FILE, Preparation, fingerprint_of, open_prepared
from tf_simclr.data.prepared_list import IMAGES_FILE
from tf_simclr.data.read_errors import named
from tf_simclr.data.request import SplitRequest
from tf_simclr.data.shard_source import shard_source
from tf_simclr.data.shrinking import reduced
from tf_simclr.data.source import decode_named
from tf_simclr.data.stored_images import record_at, stored_images
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError


def prepare(folder, out, side=256, images_a_file=4096, **request):
    layout = whole_folder(SplitRequest(data_dir=str(folder), **request))
    listings = {split: layout.read(split) for split in layout.splits or ("",)}
    out.mkdir()
    preparation = Preparation(layout.root, fingerprint_of(layout.root, listings), side, "auto")
    return write_prepared(listings, preparation, str(out), images_a_file=images_a_file)


def opened(folder, **options):
    return load_splits("folder", data_dir=str(folder), **options)


def decoded(source):
    """Name -> image, in the canonical order."""
    images = source.records(None).map(lambda record: source.decode(record["data"])).as_numpy_iterator()
    return dict(zip(source.names(), images, strict=True))


def facts(source):
    labels = [int(record["label"]) for record in source.records(None)]
    indices = [int(record["index"]) for record in source.records(None)]
    return source.num_classes, source.class_names, source.names(), labels, indices


def noise(path, side, mode="RGB", seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = side if isinstance(side, tuple) else (side, side)
    few = np.random.default_rng(seed).integers(0, 256, [5, 5, len(mode)], dtype=np.uint8)
    image = Image.fromarray(few.squeeze(), mode).resize((width, height), Image.Resampling.BICUBIC)
    image.save(path, **options)
    return path


# ---- Splits, classes and names ----


def test_a_folder_without_splits_holds_out_the_same_images(tmp_path):
    make_images(tmp_path / "images", class_folders({"ant": 14, "bee": 11, "cat": 1}))
    prepare(tmp_path / "images", tmp_path / "out", images_a_file=7)
    for options in ({}, {"validation_split": "chosen", "hold_out": 0.3}, {"hold_out_by": "count"}):
        loose, stored = (opened(tmp_path / name, **options) for name in ("images", "out"))
        for one, other in zip(loose, stored, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                assert facts(one) == facts(other)
        assert loose.train.held_out() == stored.train.held_out()


def test_splits_and_slices_are_those_of_the_folder(tmp_path):
    names = [f"{split}/{name}" for split in ("train", "test", "no labels") for name in class_folders({"a": 6, "b": 4})]
    make_images(
        tmp_path / "images", [name.replace("no labels/a/", "no labels/") for name in names if "ls/b" not in name]
    )
    prepared, images = prepare(tmp_path / "images", tmp_path / "out")
    assert prepared.splits == ("no labels", "test", "train") and len(images) == 26
    assert [part.records for part in prepared.parts] == ["split_0", "test", "train"]
    for options in ({}, {"train_split": "train[:50%]", "eval_split": "train[50%:]"}):
        for one, other in zip(opened(tmp_path / "images", **options), opened(tmp_path / "out", **options), strict=True):
            assert (one is None) == (other is None) and (one is None or facts(one) == facts(other))
    one, other = (opened(tmp_path / name, train_split="no labels").train for name in ("images", "out"))
    assert not other.labelled and facts(one) == facts(other)
    with pytest.raises(InputError, match="has no split 'nothing'; it has: no labels, test, train"):
        opened(tmp_path / "out", train_split="nothing")


def test_names_of_any_bytes_and_classes_of_any_text(tmp_path):
    odd = [os.fsdecode(name) for name in (b"caf\xe9.png", b"new\nline.png", b'comma, "quote".png', b"cr\r.png")]
    classes = [" leading", "trailing ", "ä", os.fsdecode(b"\xff")]
    make_images(tmp_path / "images", [f"{kind}/{name}" for kind in classes for name in odd])
    prepare(tmp_path / "images", tmp_path / "out")
    for one, other in zip(opened(tmp_path / "images"), opened(tmp_path / "out"), strict=True):
        assert one is other is None or facts(one) == facts(other)
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    paths = {bytes(example["path"]) for example in tfds.as_numpy(builder.as_dataset(split="train"))}
    assert {os.fsdecode(path) for path in paths} == {f"{kind}/{name}" for kind in classes for name in odd}
    assert builder.info.features["label"].names == ["\\x20leading", "trailing\\x20", "ä", "\\xff"]


def test_a_table_of_labels_is_taken_over(tmp_path):
    make_images(tmp_path / "images", [f"{number}.png" for number in range(12)])
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,label,split\n" + "".join(f"{n}.png,{n % 3 + 9},{('train', 'test')[n % 2]}\n" for n in range(12))
    )
    prepare(tmp_path / "images", tmp_path / "out", labels=str(table))
    loose = opened(tmp_path / "images", labels=str(table))
    for one, other in zip(loose, opened(tmp_path / "out"), strict=True):
        assert one is other is None or facts(one) == facts(other)
    assert loose.train.class_names == ("9", "10", "11")
    with pytest.raises(InputError, match="`labels` must be left out for a prepared folder"):
        opened(tmp_path / "out", labels=str(table))


def test_links_to_one_file_are_one_image(tmp_path):
    make_images(tmp_path / "images", class_folders({"a": 8, "b": 8}))
    os.link(tmp_path / "images/a/000.png", tmp_path / "images/a/999.png")
    prepare(tmp_path / "images", tmp_path / "out")
    assert facts(opened(tmp_path / "images").train) == facts(opened(tmp_path / "out").train)


def test_names_of_records():
    names = ["", "train", "ALL", "my split", "ä", "split_2"]
    assert list(records_names(names).values()) == ["train", "train", *(f"split_{n}" for n in (2, 3, 4, 5))]


# ---- Images ----


def test_what_is_stored_of_each_kind_of_image(tmp_path):
    """Which bytes, and how far the image is from the one that the folder gives."""
    turned = Image.Exif()
    turned[0x0112] = 6
    root = tmp_path / "images"
    files = {
        "small.jpg": (noise(root / "small.jpg", (20, 30)), "kept", "jpeg", 0),
        "small.png": (noise(root / "small.png", (20, 30)), "kept", "png", 0),
        "alpha.png": (noise(root / "alpha.png", 20, "RGBA"), "kept", "png", 0),
        "long.png": (noise(root / "long.png", (32, 90)), "kept", "png", 0),
        "small.gif": (noise(root / "small.gif", 20), "encoded", "png", 1e-6),
        "small.bmp": (noise(root / "small.bmp", 20), "encoded", "png", 1e-6),
        "small.tif": (noise(root / "small.tif", 20), "encoded", "png", 1e-6),
        "turned.png": (noise(root / "turned.png", (20, 30), exif=turned), "encoded", "png", 1e-6),
        "turned.jpg": (noise(root / "turned.jpg", (20, 30), exif=turned), "encoded", "jpeg", 0.06),
        "small.webp": (noise(root / "small.webp", 20), "encoded", "jpeg", 0.06),
        "large.jpg": (noise(root / "large.jpg", (64, 96), exif=turned), "reduced", "jpeg", 0.06),
        "large.png": (noise(root / "large.png", 64), "reduced", "jpeg", 0.06),
        "large_alpha.png": (noise(root / "large_alpha.png", 64, "RGBA"), "reduced", "png", 0.0021),
        "large_grey.png": (noise(root / "large_grey.png", 64, "L"), "reduced", "jpeg", 0.06),
    }
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    files["moving.gif"] = root / "moving.gif", "encoded", "png", 1e-6
    deep = tf.io.encode_png(np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3) * 5).numpy()
    for name, side, change, bound in (("deep.png", 64, "reduced", 1e-5), ("deep_small.png", 32, "kept", 0)):
        content = deep if side == 64 else tf.io.encode_png(tf.io.decode_png(deep, dtype=tf.uint16)[:32, :32]).numpy()
        (root / name).write_bytes(content)
        files[name] = root / name, change, "png", bound
    prepare(root, tmp_path / "out", side=32)
    with open(tmp_path / "out" / IMAGES_FILE, newline="", encoding="utf-8") as table:
        changes = {row["path"]: row["change"] for row in csv.DictReader(table)}
    assert changes == {name: change for name, (_, change, _, _) in files.items()}
    stored = decoded(opened(tmp_path / "out").train)
    contents = contents_of(tmp_path / "out")
    for name, (path, change, kind, bound) in files.items():
        content = path.read_bytes()
        loose = decode_named(tf.constant(content), name)
        if change == "reduced":
            loose = reduced(loose, 32)
            assert min(loose.shape[:2]) == 32
        assert stored[name].shape == loose.shape, name
        errors = np.abs(stored[name] - loose)
        assert errors.max() <= bound and errors.mean() <= (bound / 4 if kind == "jpeg" else bound), name
        assert tfds_format(contents[name]) == kind and (contents[name] == content) == (change == "kept"), name
    assert stored["large.jpg"].shape == (48, 32, 3)


def contents_of(directory):
    builder = tfds.builder_from_directory(str(directory))
    decoders = {"image": tfds.decode.SkipDecoding()}
    examples = tfds.as_numpy(builder.as_dataset(split="train", decoders=decoders))
    return {os.fsdecode(bytes(example["path"])): bytes(example["image"]) for example in examples}


def tfds_format(content):
    return "png" if content.startswith(b"\x89PNG") else "jpeg" if content.startswith(b"\xff\xd8") else "other"


def test_reducing_is_pillows_bicubic_up_to_its_8_bits(tmp_path):
    path = noise(tmp_path / "one.png", (60, 90), seed=3)
    expected = np.asarray(Image.open(path).resize((36, 24), Image.Resampling.BICUBIC)) / 255
    image = decode_named(tf.constant(path.read_bytes()), "one.png")
    assert np.abs(reduced(image, 24) - expected).max() < 2.5 / 255


def test_views_are_those_of_the_folder_to_the_bit(tmp_path):
    root = tmp_path / "images"
    for number in range(24):
        noise(root / "ab"[number % 2] / f"{number}.{('png', 'jpg')[number % 4 > 1]}", (20, 24), seed=number)
    prepare(root, tmp_path / "out")
    batches = (
        train_batches(opened(tmp_path / name).train, policy=ViewPolicy(image_size=8), batch_size=8, seed=3).take(3)
        for name in ("images", "out")
    )
    for one, other in zip(*batches, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_images_in_memory_can_be_held_decoded_as_those_of_a_folder(tmp_path):
    for number in range(4):
        noise(tmp_path / "images" / f"{number}.jpg", (70, 80), seed=number)
    prepare(tmp_path / "images", tmp_path / "out")
    one, other = (held(opened(tmp_path / name).train) for name in ("images", "out"))
    assert isinstance(other.decode, HeldLevels)
    tf.nest.map_structure(np.testing.assert_array_equal, decoded(one), decoded(other))


def test_a_large_split_is_streamed(tmp_path):
    make_images(tmp_path / "images", class_folders({"a": 40}))
    prepare(tmp_path / "images", tmp_path / "out", images_a_file=10)
    layout = whole_folder(SplitRequest(data_dir=str(tmp_path / "out")))
    listing = layout.read("")
    kept = dataclasses.replace(listing, files=listing.files[3::2], labels=listing.labels[3::2])
    source = shard_source(ListedSplit(layout.root, "train", kept), memory_budget=0, shuffle_buffer=8)
    assert "in a buffer of 8 images" in source.notes[-1] and source.num_examples == 19
    assert [round(float(image[0, 0, 0]) * 255) for image in decoded(source).values()] == list(range(3, 40, 2))
    orders = [[int(record["index"]) for record in source.records(seed)] for seed in (None, 1, 1, 2)]
    assert orders[0] == list(range(19)) and orders[1] == orders[2] != orders[3]
    assert all(sorted(order) == orders[0] for order in orders)
    assert facts(source) == facts(source.load())


# ---- Damage ----


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("three")
    prepare(make_images(root / "images", class_folders({"a": 3})), root / "out")
    return root / "out"


@pytest.fixture
def three(prepared_once, tmp_path):
    """A prepared folder of three images, to be harmed."""
    return shutil.copytree(prepared_once, tmp_path / "out")


def with_damaged(root, number=100):
    make_images(root, [f"{one:03d}.png" for one in range(number)], side=9)
    path = root / "007.png"
    path.write_bytes(path.read_bytes()[:60])


def test_damaged_images_are_named_or_left_out_and_listed(tmp_path):
    with_damaged(tmp_path / "images")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"damaged.*007\.png"):
        prepare(tmp_path / "images", tmp_path / "failed")
    prepared, images = prepare(tmp_path / "images", tmp_path / "out", on_bad_image="skip")
    assert prepared.damaged == ("007.png",) and len(images) == 99
    source = opened(tmp_path / "out").train
    assert "007.png" not in source.names() and "1 damaged image" in " ".join(source.notes)
    (tmp_path / "images" / "007.png").unlink()
    assert facts(source) == facts(opened(tmp_path / "images").train)


def test_many_damaged_images_are_refused_as_soon_as_they_are_too_many(tmp_path):
    with_damaged(tmp_path / "images", 60)
    with pytest.raises(InputError, match=r"leaves out up to 1% of the images.*1 of 60.*007\.png"):
        prepare(tmp_path / "images", tmp_path / "out", on_bad_image="skip")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda out: next(out.glob("*tfrecord*")).unlink(), "tfrecord-00000 is missing"),
        (lambda out: next(out.glob("*tfrecord*")).write_bytes(b"half"), "4 bytes long in place of"),
        (lambda out: (out / PREPARED_FILE).write_text('{"format": 99}'), "another version.*format 99"),
        (lambda out: (out / PREPARED_FILE).write_text("{"), "is damaged"),
        (lambda out: edit(out, splits=[{"name": 3}]), "is damaged: name=3"),
        (lambda out: edit(out, splits=[{"name": ""}]), "says too little"),
        (lambda out: edit_split(out, lengths=[2]), "images.csv lists 3 of 2 images"),
    ],
)
def test_a_damaged_prepared_folder_is_refused_in_one_line(three, harm, message):
    harm(three)
    with pytest.raises(InputError, match=message) as found:
        opened(three)
    assert "\n" not in str(found.value)


def edit(out, **values):
    path = out / PREPARED_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_split(out, **values):
    split = json.loads((out / PREPARED_FILE).read_text())["splits"][0]
    edit(out, splits=[split | values])


def test_a_file_with_other_bytes_is_found_when_it_is_read(three):
    path = next(three.glob("*tfrecord*"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(tf.errors.DataLossError) as found:
        opened(three)
    assert "prepared folder is damaged" in str(named(found.value)) and "\n" not in str(named(found.value))


def test_fingerprints_follow_the_stored_images(tmp_path):
    make_images(tmp_path / "images", class_folders({"a": 5}))
    noise(tmp_path / "images" / "a" / "large.png", 64)
    for name, side in (("one", 32), ("two", 32), ("other", 16)):
        prepare(tmp_path / "images", tmp_path / name, side)
    one, two, other = (opened(tmp_path / name).train for name in ("one", "two", "other"))
    assert one.fingerprint == two.fingerprint != other.fingerprint and one.contents() == two.contents()


def test_a_prepared_folder_can_be_prepared_again(tmp_path):
    for number in range(3):
        noise(tmp_path / "images" / "a" / f"{number}.jpg", 64, seed=number)
    prepare(tmp_path / "images", tmp_path / "out", 32)
    prepare(tmp_path / "out", tmp_path / "smaller", 16)
    images = decoded(opened(tmp_path / "smaller").train)
    assert {image.shape for image in images.values()} == {(16, 16, 3)}
    assert open_prepared(str(tmp_path / "smaller")).preparation.source == str(tmp_path / "out")


def test_single_images_are_found_in_their_files(tmp_path):
    make_images(tmp_path / "images", [f"{split}/a/{n}.png" for split in ("test", "train") for n in range(7)])
    prepare(tmp_path / "images", tmp_path / "out", images_a_file=3)
    read = stored_images(str(tmp_path / "out"))
    for path in (tmp_path / "images").rglob("*.png"):
        assert read(str(path.relative_to(tmp_path / "images"))) == path.read_bytes()
    assert read("nothing.png") == b"" and record_at(str(next((tmp_path / "out").glob("*-00000"))), 3) == b""
    next((tmp_path / "out").glob("*-00000")).unlink()
    assert stored_images(str(tmp_path / "out"))("test/a/5.png") == b""


def test_progress_counts_all_images(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_images, "_AT_A_TIME", 2)
    make_images(tmp_path / "images", class_folders({"a": 5}))
    layout, seen = whole_folder(SplitRequest(data_dir=str(tmp_path / "images"))), []
    (tmp_path / "out").mkdir()
    write_prepared(
        {"": layout.read("")},
        Preparation(layout.root, "", 32, "auto"),
        str(tmp_path / "out"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
