"""Crops, resizing and flips against tf.image, NumPy and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import InputError
from tf_simclr.ops import draws, image
from tf_simclr.ops.resample import bicubic_weights

RNG = np.random.default_rng(0)


def photos(*shape):
    return RNG.random(shape, dtype=np.float32)


def naive_bicubic(piece, height, width):
    """Keys' interpolation written as loops over the output pixels."""

    def kernel(d):
        d = abs(d)
        if d <= 1:
            return 1.5 * d**3 - 2.5 * d**2 + 1
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0

    def axis_weights(source, target):
        weights = np.zeros([target, source])
        for o in range(target):
            position = (o + 0.5) * source / target - 0.5
            base = np.floor(position)
            position = base + np.round((position - base) * 1024) / 1024
            weights[o] = [kernel(position - j) for j in range(source)]
            weights[o] /= weights[o].sum()
        return weights

    rows = axis_weights(piece.shape[0], height)
    columns = axis_weights(piece.shape[1], width)
    return np.clip(np.einsum("yh,hwc,xw->yxc", rows, piece, columns), 0, 1)


def test_bicubic_by_hand():
    # Two pixels to four: Keys' kernel at 1/4 is 0.8671875, at 3/4 0.2265625, at 5/4 -0.0703125.
    # The taps outside are dropped and the rest rescaled to sum to one.
    weights = bicubic_weights(tf.constant(0), tf.constant(2), 2, 4).numpy()
    outer, inner = -3 / 34, 29 / 140
    expected = [[1 - outer, outer], [1 - inner, inner], [inner, 1 - inner], [outer, 1 - outer]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (13, 7), (1, 3)])
@pytest.mark.parametrize("source", [(20, 20), (9, 31), (5, 4), (1, 1)])
def test_batched_crop_equals_resizing_each_crop(source, size):
    images = photos(12, *source, 3)
    keys = draws.example_key(0, 0, tf.range(12), 0)
    boxes = draws.crop_box(draws.uniforms(keys, 4), *source)
    batched = image.crop_and_resize(tf.constant(images), boxes, size)
    for photo, (y, x, h, w), ours in zip(images, boxes.numpy(), batched, strict=True):
        piece = photo[y : y + h, x : x + w]
        theirs = np.clip(tf.image.resize(piece, size, method="bicubic"), 0, 1)
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        np.testing.assert_allclose(ours, naive_bicubic(piece, *size), atol=2e-6)
        alone = image.crop_and_resize(tf.constant(photo), tf.constant([y, x, h, w]), size)
        np.testing.assert_allclose(ours, alone, atol=2e-6)


def test_crop_of_the_whole_image_at_its_size_is_the_identity():
    images = photos(2, 9, 11, 3)
    boxes = tf.constant([[0, 0, 9, 11]] * 2)
    np.testing.assert_array_equal(image.crop_and_resize(tf.constant(images), boxes, (9, 11)), images)


def test_crop_with_more_leading_dimensions_and_unknown_sizes():
    images = photos(2, 3, 9, 11, 3)
    boxes = tf.constant(np.broadcast_to([1, 2, 5, 6], [2, 3, 4]), tf.int32)
    expected = image.crop_and_resize(tf.constant(images), boxes, (4, 4))
    assert expected.shape == [2, 3, 4, 4, 3]
    traced = tf.function(
        lambda x, b: image.crop_and_resize(x, b, (4, 4)),
        input_signature=[
            tf.TensorSpec([None, None, None, None, 3]),
            tf.TensorSpec([None, None, 4], tf.int32),
        ],
    )
    np.testing.assert_allclose(traced(images, boxes), expected, atol=1e-6)


def test_batched_crop_compiles_with_xla():
    images, boxes = tf.constant(photos(2, 9, 9, 3)), tf.constant([[0, 1, 4, 5], [3, 3, 6, 6]])
    compiled = tf.function(lambda x, b: image.crop_and_resize(x, b, (8, 8)), jit_compile=True)
    np.testing.assert_allclose(compiled(images, boxes), image.crop_and_resize(images, boxes, (8, 8)), atol=2e-6)


def test_overshoot_is_clipped():
    edge = np.zeros([4, 4, 3], np.float32)
    edge[:, 2:] = 1.0
    raw = tf.image.resize(edge, [16, 16], method="bicubic").numpy()
    assert raw.min() < 0 and raw.max() > 1
    for result in (
        image.resize(tf.constant(edge), (16, 16)),
        image.crop_and_resize(edge[None], tf.constant([[0, 0, 4, 4]]), (16, 16)),
    ):
        assert result.numpy().min() == 0.0 and result.numpy().max() == 1.0


@pytest.mark.parametrize(
    ("shape", "size", "proportion", "box"),
    [
        ((100, 200), (10, 10), 0.875, (6, 56, 88, 88)),  # round(87.5) is even: 88
        ((200, 100), (10, 20), 1.0, (75, 0, 50, 100)),
        ((7, 7), (7, 7), 0.5, (2, 2, 4, 4)),  # round(3.5) = 4, margin 3, the extra pixel in front
        ((1, 1), (4, 4), 0.875, (0, 0, 1, 1)),
    ],
)
def test_center_crop(shape, size, proportion, box):
    photo = photos(*shape, 3)
    y, x, h, w = box
    theirs = np.clip(tf.image.resize(photo[y : y + h, x : x + w], size, method="bicubic"), 0, 1)
    np.testing.assert_allclose(image.center_crop(tf.constant(photo), size, proportion), theirs, atol=1e-6)
    batch = image.center_crop(tf.constant(photo[None, None]), size, proportion)
    assert batch.shape == [1, 1, *size, 3]
    np.testing.assert_allclose(batch[0, 0], theirs, atol=1e-6)


def test_center_crop_rejects_proportion():
    with pytest.raises(InputError, match="proportion=0"):
        image.center_crop(tf.zeros([4, 4, 3]), (2, 2), 0)


def test_flip_only_the_chosen():
    images = photos(4, 3, 5, 3)
    flipped = image.flip_left_right(tf.constant(images), tf.constant([True, False, False, True])).numpy()
    np.testing.assert_array_equal(flipped[[0, 3]], images[[0, 3]][:, :, ::-1])
    np.testing.assert_array_equal(flipped[[1, 2]], images[[1, 2]])
    np.testing.assert_array_equal(image.flip_left_right(images[0]), tf.image.flip_left_right(images[0]))


def test_to_rgb():
    grey = tf.constant([[[0], [255]]], tf.uint8)
    np.testing.assert_array_equal(image.to_rgb(grey), [[[0.0] * 3, [1.0] * 3]])
    deep = tf.constant([[[65535, 0, 0]]], tf.uint16)
    np.testing.assert_array_equal(image.to_rgb(deep), [[[1.0, 0.0, 0.0]]])
    floats = photos(2, 2, 3)
    np.testing.assert_array_equal(image.to_rgb(tf.constant(floats)), floats)
    with pytest.raises(InputError, match="1 or 3 channels"):
        image.to_rgb(tf.zeros([2, 2, 4]))


def naive_cutout(photo, box, fill):
    covered = photo.copy()
    y, x, height, width = box
    for row, column in np.ndindex(photo.shape[:2]):
        if y <= row < y + height and x <= column < x + width:
            covered[row, column] = fill
    return covered


def test_cutout_against_loops_also_over_the_edge():
    images = photos(2, 3, 6, 9, 3)
    boxes = RNG.integers([-3, -3, 1, 1], [6, 9, 8, 8], [2, 3, 4])
    ours = image.cutout(tf.constant(images), tf.constant(boxes, tf.int32), fill=0.25)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(ours[place], naive_cutout(images[place], boxes[place], 0.25))
    one = image.cutout(tf.constant(images[0, 0]), tf.constant(boxes[0, 0], tf.int32))
    np.testing.assert_array_equal(one, naive_cutout(images[0, 0], boxes[0, 0], 0.0))


def test_cutout_by_hand():
    ours = image.cutout(tf.ones([3, 4, 1]), tf.constant([1, 2, 5, 1]))
    np.testing.assert_array_equal(ours[..., 0], [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]])


def test_cutout_compiles_with_xla():
    images, boxes = tf.constant(photos(2, 6, 5, 3)), tf.constant([[0, 1, 2, 2], [4, 3, 4, 4]])
    compiled = tf.function(image.cutout, jit_compile=True)
    np.testing.assert_array_equal(compiled(images, boxes), image.cutout(images, boxes))


@pytest.mark.parametrize("shape", [(4, 5, 5, 3), (2, 2, 6, 6, 3)])
def test_quarter_turns_are_numpys(shape):
    images, turns = photos(*shape), np.arange(4).reshape(shape[:-3])
    ours = tf.function(image.rotate_quarters)(tf.constant(images), tf.constant(turns, tf.int32))
    for place in np.ndindex(shape[:-3]):
        np.testing.assert_array_equal(ours[place], np.rot90(images[place], turns[place]))
        np.testing.assert_array_equal(image.rotate_quarters(tf.constant(images[place]), int(turns[place])), ours[place])


def test_a_quarter_turn_by_hand():
    ours = image.rotate_quarters(tf.constant([[[1.0], [2.0]], [[3.0], [4.0]]]), 1)
    np.testing.assert_array_equal(ours[..., 0], [[2, 4], [1, 3]])


def test_quarter_turns_need_squares():
    with pytest.raises(InputError, match="square"):
        image.rotate_quarters(tf.zeros([2, 3, 3]), 1)
