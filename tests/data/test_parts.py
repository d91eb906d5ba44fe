"""Views of parts of files are those of the whole image, for every operator; large views are worked on one by one."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.one_file import pipeline_of
from tf_simclr.config import OPERATORS, OperatorOption
from tf_simclr.data import parts
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.decoding import decode_named
from tf_simclr.data.operators import build_operator
from tf_simclr.data.parts import cut_file
from tf_simclr.data.pipeline import evaluation_view, train_batches
from tf_simclr.data.views import ViewPolicy, apply_batch, apply_views, draw_view
from tf_simclr.ops.draws import example_key
from tf_simclr.ops.image import crops

SIDE = 96  # above it is_small says that views are large
SEED = 5
# Of a level in [0, 1]: half of one of the 256 levels.
CLOSE = 2e-3


def encoded(pixels: np.ndarray, orientation: int = 1, **options) -> bytes:
    """A JPEG, perhaps with what EXIF asks for."""
    exif = Image.Exif()
    if orientation > 1:
        exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, **({"quality": 92} | options))
    return file.getvalue()


@pytest.fixture(scope="module")
def photographs():
    return pytest.importorskip("sklearn.datasets").load_sample_images().images


@pytest.fixture(scope="module")
def folder(photographs, tmp_path_factory):
    """Photographs as cameras and the web have them: colour at several resolutions, turned, progressive, grey, png."""
    root = tmp_path_factory.mktemp("photographs") / "train"
    files = {}
    for number, pixels in enumerate(photographs):
        files |= {
            f"{number}plain.jpg": encoded(pixels),
            f"{number}full.jpg": encoded(pixels[:301, :399], subsampling=0),
            f"{number}half.jpg": encoded(pixels[3:, :397], subsampling=1, progressive=True),
            f"{number}cut.jpg": encoded(pixels[:200]) + b"\0",
        }
        files |= {f"{number}turned{turn}.jpg": encoded(pixels, turn) for turn in range(2, 9)}
    file = io.BytesIO()
    Image.fromarray(photographs[0]).save(file, "PNG")
    files["image.png"] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(photographs[0]).convert("L").save(file, "JPEG")
    files["grey.jpg"] = file.getvalue()
    for name, content in files.items():
        path = root / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return load_sources("folder", data_dir=str(root.parent), eval_split=None)[0]


def old_views(policy: ViewPolicy):
    """(image, index) -> views as they were made before: cropped by weight matrices, operators on a batch."""

    def views_of(image, index):
        drawn = draw_view(policy, example_key(SEED, 0, index, tf.range(2)), tf.shape(image))
        boxes, size = drawn["box"][tf.newaxis], (policy.image_size,) * 2
        return apply_batch(policy, crops(image[tf.newaxis], boxes, size)[0], drawn)

    spec = [tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([], tf.int64)]
    return tf.function(views_of, input_signature=spec, autograph=False)


def whole(source):
    records = source.records(None).map(lambda r: (r["index"], source.decode(r["data"])))
    return {int(index): tf.constant(image) for index, image in records.as_numpy_iterator()}


def first(source, policy, **options):
    batches = train_batches(source, policy=policy, batch_size=source.num_examples, seed=SEED, **options)
    return next(batches.as_numpy_iterator())


@pytest.mark.parametrize("cache", [False, True])
def test_views_of_photographs_are_those_of_whole_images(folder, cache):
    policy, images = ViewPolicy(SIDE), whole(folder)
    old = old_views(policy)
    batch = first(folder, policy, cache=cache)
    for row, index in enumerate(batch["index"]):
        wanted = old(images[index], tf.constant(index))
        for view in range(2):
            np.testing.assert_allclose(batch["views"][view][row], wanted[view], atol=CLOSE, err_msg=str(index))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("one_branch", [False, True])
def test_every_operator_on_one_image_is_that_on_a_batch(photographs, name, one_branch):
    policy = ViewPolicy.composed(SIDE, [OperatorOption(name, probability=1.0)], one_branch=one_branch)
    keys = example_key(SEED, 0, tf.range(6)[:, tf.newaxis], tf.range(2))
    drawn = draw_view(policy, keys, (SIDE, SIDE))
    photo = tf.constant(photographs[1][:SIDE, :SIDE] / np.float32(255))
    # An odd one beside the photograph: no colour, black and white.
    plain = tf.cast(photo > 0.5, tf.float32)[..., :1] * tf.ones([3])
    images = tf.stack([photo, plain, photo[::-1], photo[:, ::-1] * 0.3, 1 - photo, photo])
    given = [images] if one_branch else [images, images[::-1]]
    batch = apply_views(policy, given, drawn, 2)
    one_by_one = tf.function(lambda crops, draw: apply_views(policy, crops, draw, 2, one_by_one=True))
    for row in range(6):
        alone = one_by_one([one[row] for one in given], {field: value[row] for field, value in drawn.items()})
        for view in range(2):
            np.testing.assert_allclose(alone[view], batch[view][row], atol=1e-4)


def test_the_image_that_evaluation_sees_comes_from_the_same_file(folder):
    images = whole(folder)
    for crop in (0.875, 1.0):
        batch = first(folder, ViewPolicy.crop_and_flip(SIDE), plain=5, eval_crop=crop)
        for shown, index in zip(batch["plain"], batch["index"], strict=False):
            np.testing.assert_allclose(shown, evaluation_view(images[index], SIDE, crop), atol=1e-5)


@pytest.mark.parametrize("size", [SIDE, 32])
@pytest.mark.parametrize("one_branch", [False, True])
def test_the_host_s_part_is_what_the_views_are_made_of(folder, size, one_branch):
    options = [OperatorOption("flip"), OperatorOption("color_jitter", strength=0.5), OperatorOption("blur")]
    policy = ViewPolicy.composed(size, options, one_branch=one_branch)
    views, host = first(folder, policy), first(folder, policy, host_only=True)
    assert [crop.dtype for crop in host["crops"]] == [np.uint8] * (1 if one_branch else 2)
    made = apply_views(policy, [tf.constant(crop) for crop in host["crops"]], host["draws"], 2)
    np.testing.assert_array_equal(views["index"], host["index"])
    # Half a level, which contrast and saturation enlarge.
    np.testing.assert_allclose(made, views["views"], atol=4 * CLOSE)


# ---- Files ----


def cutting(decoder: str) -> Callable[[bytes], tuple[np.ndarray, ...]]:
    """A pipeline that makes of a file the exact pixels of two boxes, and how many pixels were decoded for them."""

    def boxes_of(height, width):
        return tf.stack([[height // 8, width // 2, height // 2, width // 3], [0, width // 4, height // 3, width // 2]])

    def exact(pixels, boxes):
        pieces = []
        for y, x, height, width in (tf.unstack(box) for box in tf.unstack(boxes)):
            piece = tf.cast(pixels[y : y + height, x : x + width], tf.float32)
            pieces.append(piece / 255.0 if pixels.dtype == tf.uint8 else piece)
        return (*pieces, tf.size(pixels) // 3)

    return pipeline_of(lambda one: cut_file(one, tf.constant("a file"), decoder, boxes_of, exact))


made = functools.cache(cutting)


def cut(content: bytes, decoder: str = "auto") -> tuple[np.ndarray, ...]:
    """What `cutting` makes of a file."""
    return made(decoder)(content)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_has_the_pixels_of_the_whole(photographs, orientation, subsampling):
    content = encoded(photographs[0][5:, 7:], orientation, subsampling=subsampling)
    image = decode_named(tf.constant(content), tf.constant("a file")).numpy()
    height, width = image.shape[:2]
    *pieces, decoded = cut(content)
    for piece, (y, x) in zip(pieces, [(height // 8, width // 2), (0, width // 4)], strict=True):
        np.testing.assert_allclose(piece, image[y : y + len(piece), x : x + piece.shape[1]], atol=1e-6)
    assert decoded < 0.5 * height * width


def test_pillow_and_large_images_are_decoded_whole(photographs, monkeypatch):
    content = encoded(photographs[0])
    assert cut(content, "pillow")[-1] == photographs[0].size // 3
    monkeypatch.setattr(parts, "MOST_DECODED", photographs[0].size // 3 - 1)
    assert cutting("auto")(content)[-1] == photographs[0].size // 3


def test_a_large_photograph_that_is_turned_is_reduced_once():
    """Its header is read by Python, and its decoder reduces it."""
    *_, decoded = cut(encoded(np.zeros([4000, 4400, 3], np.uint8), 6))
    assert decoded == 2000 * 2200


def test_damage_beyond_the_boxes_is_found_and_named(photographs):
    content = encoded(photographs[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"damaged.*a file"):
        cut(content[: len(content) * 9 // 10])
    tables = content.index(b"\xff\xc4")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"damaged.*a file"):
        cut(content[:tables] + b"\xff\xc4\x00\x05\x99\x01\x02" + content[tables:])


def test_parallelism_and_resumption_change_nothing(folder):
    options = dict(policy=ViewPolicy(SIDE, blur=False), batch_size=8, seed=SEED, plain=2)

    def batches(count, **more):
        return list(itertools.islice(train_batches(folder, **options, **more).as_numpy_iterator(), count))

    alone = batches(4, parallelism=1)
    for other, start in ((batches(4, parallelism=3), 0), (batches(2, start_step=2), 2)):
        for one, same in zip(alone[start:], other, strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, one, same)


def test_an_operator_of_no_image_of_the_batch_costs_nothing():
    """A probability of 0 leaves a single image bit for bit."""
    photo = tf.random.stateless_uniform([SIDE, SIDE, 3], [1, 2])
    for name in ("flip", "color_jitter", "blur", "sobel"):
        operator = build_operator(name, probability=0.0)
        policy = ViewPolicy(SIDE, composition=(operator,))
        drawn = draw_view(policy, example_key(0, 0, 1, 0), (SIDE, SIDE))
        np.testing.assert_array_equal(apply_batch(policy, photo, drawn), photo)


@pytest.mark.parametrize("content", [b"", b"\x89", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9"])
def test_the_shortest_files_are_refused_by_name(content):
    def boxes(height, width):
        return tf.stack([[0, 0, height, width]])

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a/short\.jpg"):
        cut_file(tf.constant(content), tf.constant("a/short.jpg"), "auto", boxes, lambda pixels, boxes: pixels)
