"""Folders of images: layouts, formats, hold-out, and what is said about files that cannot be used."""

from __future__ import annotations

import collections
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_simclr.data.datasets import load_sources
from tf_simclr.data.source import CAN_READ_WEBP
from tf_simclr.errors import InputError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (9, 7, 3), np.uint8)


def save(path: pathlib.Path, pixels: np.ndarray = RGB, mode: str | None = None, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def make_classes(root: pathlib.Path, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        for number in range(count):
            save(root / name / f"{number:03d}.png", np.full((4, 4, 3), number % 256, np.uint8))


def open_one(root: pathlib.Path) -> np.ndarray:
    """Loads a folder of one unlabelled image and decodes it, uncached and cached."""
    source, evaluation = load_sources("folder", data_dir=str(root))
    assert evaluation is None
    (record,) = source.records(None)
    held = source.load()
    (held_record,) = held.records(None)
    image = source.decode(record["data"]).numpy()
    np.testing.assert_array_equal(image, held.decode(held_record["data"]).numpy())
    return image


def order(source, seed=None):
    return [(int(r["index"]), int(r["label"]), r["data"].numpy()) for r in source.records(seed)]


# ---- Formats ----


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.BmP"])
def test_lossless_colour(tmp_path, name):
    save(tmp_path / name)
    np.testing.assert_allclose(open_one(tmp_path), RGB / 255.0, atol=1e-7)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG"])
def test_jpeg(tmp_path, name):
    smooth = np.full((16, 16, 3), [200, 100, 50], np.uint8)
    save(tmp_path / name, smooth, quality=95)
    np.testing.assert_allclose(open_one(tmp_path), smooth / 255.0, atol=0.02)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    smooth = np.full((16, 16, 3), [200, 100, 50], np.uint8)
    save(tmp_path / "a.jpg", smooth, mode="CMYK", quality=95)
    np.testing.assert_allclose(open_one(tmp_path), smooth / 255.0, atol=0.03)


def test_gif_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_allclose(open_one(tmp_path), np.tile([1.0, 0.0, 0.0], (6, 8, 1)), atol=1e-6)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp_is_read_everywhere_and_named_where_tensorflow_cannot(tmp_path, channels):
    pixels = np.concatenate([RGB, np.full((9, 7, channels - 3), 255, np.uint8)], -1)
    save(tmp_path / "a.webp", pixels, lossless=True)
    np.testing.assert_allclose(open_one(tmp_path), RGB / 255.0, atol=1e-6)
    if not CAN_READ_WEBP:
        with pytest.raises(InputError, match=r"cannot read webp.*a\.webp"):
            load_sources("folder", data_dir=str(tmp_path), decoder="tensorflow")


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_grey_is_repeated(tmp_path, name):
    save(tmp_path / name, RGB[..., 0])
    np.testing.assert_allclose(open_one(tmp_path), RGB[..., :1].repeat(3, -1) / 255.0, atol=1e-7)


def test_palette_png(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "a.png")
    wanted = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")) / 255.0
    np.testing.assert_allclose(open_one(tmp_path), wanted, atol=1e-7)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_composited_on_white(tmp_path, channels):
    pixels = RNG.integers(0, 256, (5, 6, channels), np.uint8)
    save(tmp_path / "a.png", pixels)
    alpha = pixels[..., -1:] / 255.0
    wanted = pixels[..., :-1] / 255.0 * alpha + (1 - alpha)
    np.testing.assert_allclose(open_one(tmp_path), np.broadcast_to(wanted, (5, 6, 3)), atol=1e-6)


def test_sixteen_bits_are_kept(tmp_path):
    pixels = RNG.integers(0, 65536, (20, 30), np.uint16)
    save(tmp_path / "a.png", pixels)
    image = open_one(tmp_path)
    np.testing.assert_array_equal(np.rint(image[..., 0].astype(np.float64) * 65535), pixels)


def test_bytes_that_end_in_zeros_survive_the_cache(tmp_path):
    black = np.zeros((8, 8, 3), np.uint8)
    save(tmp_path / "a.bmp", black)
    np.testing.assert_array_equal(open_one(tmp_path), black)


def test_names_that_are_not_utf8(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    np.testing.assert_allclose(open_one(tmp_path), RGB / 255.0, atol=1e-7)


def test_the_content_decides_and_not_the_name(tmp_path):
    save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_allclose(open_one(tmp_path), RGB / 255.0, atol=1e-7)


def test_bmp_with_a_colour_palette_is_read_by_pillow_or_named(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "a.bmp")
    np.testing.assert_allclose(open_one(tmp_path), np.asarray(palette.convert("RGB")) / 255.0, atol=1e-7)
    with pytest.raises(InputError, match=r"palette.*a\.bmp"):
        load_sources("folder", data_dir=str(tmp_path), decoder="tensorflow")


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a", "a.tif", "a.avif", "a.jp2", "a.heic.txt"])
def test_any_name_will_do(tmp_path, name):
    kind = {".tif": "TIFF", ".avif": "AVIF", ".jp2": "JPEG2000"}.get(os.path.splitext(name)[1], "JPEG")
    smooth = np.full((16, 16, 3), [200, 100, 50], np.uint8)
    save(tmp_path / name, smooth, format=kind)
    np.testing.assert_allclose(open_one(tmp_path), smooth / 255.0, atol=0.03)


def test_large_images_are_counted(tmp_path):
    Image.new("L", (4200, 4100)).save(tmp_path / "large.png")
    save(tmp_path / "small.png")
    source, _ = load_sources("folder", data_dir=str(tmp_path))
    assert any("1 image of more than 16.8 megapixels" in note and "large.png" in note for note in source.notes)


def test_a_header_that_asks_for_too_much_is_named(tmp_path):
    content = b"BM" + bytes(12) + (40).to_bytes(4, "little") + b"\xff\xff\0\0" * 2
    (tmp_path / "bomb.bmp").write_bytes(content + b"\1\0\x18\0" + bytes(60))
    with pytest.raises(InputError, match=r"65535 x 65535 pixels.*bomb\.bmp"):
        load_sources("folder", data_dir=str(tmp_path))


def test_a_damaged_image_is_named_when_it_is_decoded(tmp_path):
    save(tmp_path / "good.png")
    content = (tmp_path / "good.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[:60])
    source, _ = load_sources("folder", data_dir=str(tmp_path))
    for variant in (source, source.load()):
        images = variant.records(None).map(lambda r, v=variant: v.decode(r["data"]))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"damaged.*truncated\.png"):
            list(images)


# ---- Layouts ----


def test_split_folders(tmp_path):
    make_classes(tmp_path / "train", {"cat": 3, "ant": 2})
    make_classes(tmp_path / "test", {"ant": 1, "cat": 1})
    save(tmp_path / "train" / "cat" / "deeper" / "still" / "x.png")
    train, evaluation = load_sources("folder", data_dir=str(tmp_path), eval_split="test")
    assert train.class_names == evaluation.class_names == ("ant", "cat")
    assert (train.num_examples, evaluation.num_examples) == (6, 2)
    assert [label for _, label, _ in order(train)] == [0, 0, 1, 1, 1, 1]
    assert [index for index, _, _ in order(train)] == list(range(6))
    assert train.image_shape is None and train.notes == ()


def test_slices_of_a_split_mix_classes_and_are_disjoint(tmp_path):
    make_classes(tmp_path / "train", {"a": 40, "b": 40})
    first, second = load_sources("folder", data_dir=str(tmp_path), train_split="train[:25%]", eval_split="train[25%:]")
    assert (first.num_examples, second.num_examples) == (20, 60)
    assert {label for _, label, _ in order(first)} == {0, 1}
    assert not {path for _, _, path in order(first)} & {path for _, _, path in order(second)}


def test_slices_of_a_folder_without_splits(tmp_path):
    make_classes(tmp_path, {"a": 20, "b": 20})
    whole, held = load_sources("folder", data_dir=str(tmp_path))
    train, evaluation = load_sources(
        "folder", data_dir=str(tmp_path), train_split="train[:50%]", eval_split="validation[:1]"
    )
    assert (train.num_examples, evaluation.num_examples) == (round(whole.num_examples / 2), 1)
    assert set(train.names()) < set(whole.names()) and set(evaluation.names()) < set(held.names())
    assert train.held_out().names == held.names()
    flat, _ = load_sources("folder", data_dir=str(tmp_path / "a"), train_split="train[:7]")
    assert flat.num_examples == 7


def test_hold_out_is_stratified_disjoint_and_seeded(tmp_path):
    make_classes(tmp_path, {"a": 300, "b": 200, "c": 2})

    def held(seed):
        train, evaluation = load_sources("folder", data_dir=str(tmp_path), seed=seed)
        kept = {path for _, _, path in order(train)}
        out = {path: label for _, label, path in order(evaluation)}
        assert len(kept) + len(out) == 502 and not kept & set(out)
        counts = collections.Counter(out.values())
        assert 15 <= counts[0] <= 45 and 8 <= counts[1] <= 32  # 30 and 20 are expected, plus or minus 5.2 and 4.2
        assert counts[2] == 1
        return out, train

    first, train = held(0)
    assert held(0)[0] == first != held(1)[0]
    assert any(f"{len(first)} of its 502 images" in note for note in train.notes)


def test_flat_folder_is_unlabelled(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png")
    source, evaluation = load_sources("folder", data_dir=str(tmp_path))
    assert (source.num_classes, source.class_names, source.labelled) == (0, (), False)
    assert [label for _, label, _ in order(source)] == [-1, -1, -1]
    assert evaluation is None and "unlabelled" in source.notes[0]


def test_flat_splits_are_unlabelled(tmp_path):
    for split in ("train", "validation"):
        save(tmp_path / split / "a.png")
    source, evaluation = load_sources("folder", data_dir=str(tmp_path))
    assert (source.num_examples, source.num_classes, evaluation) == (1, 0, None)


def test_a_class_may_be_called_train(tmp_path):
    make_classes(tmp_path, {"train": 2, "bus": 2})
    source, _ = load_sources("folder", data_dir=str(tmp_path))
    assert source.class_names == ("bus", "train")


def test_links_are_followed_but_not_in_circles(tmp_path):
    make_classes(tmp_path / "elsewhere", {"a": 2})
    make_classes(tmp_path / "data" / "train", {"b": 2})
    (tmp_path / "data" / "train" / "a").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "data" / "train" / "b" / "loop").symlink_to(tmp_path / "data" / "train" / "b")
    source, _ = load_sources("folder", data_dir=str(tmp_path / "data"), eval_split=None)
    assert source.num_examples == 4


def test_what_is_held_out_is_held_out_also_when_nothing_is_evaluated(tmp_path):
    make_classes(tmp_path, {"a": 20, "b": 20})
    now, held = load_sources("folder", data_dir=str(tmp_path), eval_split=None)
    later, _ = load_sources("folder", data_dir=str(tmp_path))
    assert now.num_examples + held.num_examples == 40 and held.split == "held-out"
    assert order(now) == order(later)


def test_what_is_left_out_is_said(tmp_path):
    make_classes(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    (tmp_path / "b" / "broken.jpg").write_text("not a jpeg")
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    save(tmp_path / "stray.png")
    source, _ = load_sources("folder", data_dir=str(tmp_path))
    notes = "\n".join(source.notes)
    assert "ignored 1 file that is not an image: .txt" in notes
    assert "ignored 1 hidden file" in notes
    assert "ignored 2 images that cannot be read" in notes
    assert "broken.jpg" in notes and "empty.png" in notes
    assert "ignored 1 image outside the class folders" in notes


def test_one_class_is_allowed_with_a_warning(tmp_path):
    make_classes(tmp_path, {"only": 4})
    source, evaluation = load_sources("folder", data_dir=str(tmp_path))
    assert (source.num_classes, evaluation.num_examples) == (1, 1)
    assert any("one class only" in note for note in source.notes)


def test_shuffling_is_a_permutation_of_the_whole_list(tmp_path):
    make_classes(tmp_path / "train", {"a": 60, "b": 60, "c": 60})
    source, _ = load_sources("folder", data_dir=str(tmp_path), eval_split=None)
    canonical, shuffled = order(source), order(source, seed=4)
    assert shuffled != canonical and sorted(shuffled) == canonical and shuffled == order(source, 4)
    # The list is sorted by class; any third of the shuffled one has all classes.
    assert {label for _, label, _ in shuffled[:20]} == {0, 1, 2}


# ---- Bad input ----


def test_bad_folders_teach(tmp_path):
    def message(**arguments):
        with pytest.raises(InputError) as caught:
            load_sources("folder", **arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "--data_dir" in message()
    missing = message(data_dir=str(tmp_path / "nowhere"))
    assert "no such folder" in missing and "nowhere" in missing
    (tmp_path / "empty").mkdir()
    assert "no readable image" in message(data_dir=str(tmp_path / "empty"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    assert "ignored 1 file that is not an image: .txt" in message(data_dir=str(tmp_path / "text"))


def test_class_without_a_readable_image(tmp_path):
    make_classes(tmp_path, {"a": 2})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.jpg").write_text("nothing")
    with pytest.raises(InputError, match=r"class 'b' has no readable image.*x\.jpg"):
        load_sources("folder", data_dir=str(tmp_path))


def test_missing_split_lists_what_there_is(tmp_path):
    make_classes(tmp_path / "train", {"a": 2})
    make_classes(tmp_path / "more", {"a": 2})
    with pytest.raises(InputError, match=r"no split 'validation'; it has: more, train"):
        load_sources("folder", data_dir=str(tmp_path))
    make_classes(tmp_path / "test", {"a": 2})
    with pytest.raises(InputError, match=r"no split 'learning'; it has: more, test, train"):
        load_sources("folder", data_dir=str(tmp_path), train_split="learning")


def test_different_classes_in_the_splits(tmp_path):
    make_classes(tmp_path / "train", {"a": 1, "b": 1})
    make_classes(tmp_path / "test", {"a": 1, "c": 1})
    with pytest.raises(InputError, match=r"only in 'train': b; only in 'test': c"):
        load_sources("folder", data_dir=str(tmp_path), eval_split="test")


def test_nothing_left_to_hold_out(tmp_path):
    make_classes(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(InputError, match="one image only"):
        load_sources("folder", data_dir=str(tmp_path))
