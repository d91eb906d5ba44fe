"""Which transformation an image underwent: the images, their answers, and what the MLPs make of features."""

from __future__ import annotations

import dataclasses
import functools
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.data.pipeline import eval_batches
from tf_simclr.data.shapes import render_shapes, shapes_source
from tf_simclr.data.source import MultiLabel, records_from_table
from tf_simclr.errors import InputError
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.ops import color, draws, noise, sobel
from tf_simclr.studies import transformations as module
from tf_simclr.studies.transformations import TASKS, predict_transformation, transformed_source

SIDE, SEED, COUNT = 12, 5, 60
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")
ANSWERS = {"color_or_grey": 2, "rotation": 4, "noise": 2, "sobel": 2}


def shapes(split=f"train[:{COUNT}]"):
    return shapes_source(split, side=SIDE)


def images_of(source, size=SIDE):
    """All transformed images and their answers."""
    (batch,) = eval_batches(source, image_size=size, batch_size=source.num_examples, eval_crop=1.0)
    return batch["image"].numpy(), batch["label"].numpy()


def transformed(task, source=None, role="train", size=SIDE, seed=SEED, **options):
    return transformed_source(task, source or shapes(), role, image_size=size, seed=seed, **options)


def predicted(task, model, train, test, **changed):
    of_loader = {"strategy": ONE_DEVICE, "batch_size": 50, "image_size": SIDE}
    loader = EvalLoader(**{name: changed.pop(name, value) for name, value in of_loader.items()})
    return predict_transformation(task, model, train, test, loader, **({"seed": 0} | changed))


@functools.cache
def all_of(task):
    """The images and answers of `transformed`, made once."""
    return images_of(transformed(task))


def records_of(source):
    """(index, answer) of every image, which needs no decoding."""
    records = source.records(None).map(lambda record: (record["index"], record["label"]))
    return [(int(index), int(answer)) for index, answer in records.as_numpy_iterator()]


# ---- The transformed images ----

BY_HAND = {
    "color_or_grey": lambda image, answer, key: color.to_grayscale(image) if answer else image,
    "rotation": lambda image, answer, key: np.rot90(image, answer),
    "noise": lambda image, answer, key: noise.gaussian_noise(image, draws.noise_key(key), 0.08) if answer else image,
    "sobel": lambda image, answer, key: sobel.sobel(image) if answer else image,
}


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_says_what_was_done(task):
    originals = render_shapes(0, "train", 0, COUNT, SIDE)[0] / np.float32(255)
    images, answers = all_of(task)
    assert set(answers) == set(range(ANSWERS[task]))
    for index in range(COUNT):
        key = draws.example_key(SEED, 0, index, draws.MAX_VIEWS - 2)
        wanted = BY_HAND[task](originals[index], answers[index], key)
        np.testing.assert_allclose(images[index], wanted, atol=1e-6)
    changed = np.abs(images - originals).max(axis=(1, 2, 3)) > 0.02
    np.testing.assert_array_equal(changed, answers > 0)


def test_large_images_are_the_centre_of_the_original():
    """Above the size of CIFAR evaluation keeps the central 87.5%: of 40 pixels 35, here without resizing."""
    source = shapes_source("train[:20]", side=40)
    images, answers = images_of(transformed("rotation", source, size=35), size=35)
    originals = render_shapes(0, "train", 0, 20, 40)[0] / np.float32(255)
    for image, answer, original in zip(images, answers, originals, strict=True):
        np.testing.assert_allclose(np.rot90(image, -answer), original[3:38, 3:38], atol=1e-6)


@pytest.mark.parametrize(
    ("task", "shares"),
    [
        ("color_or_grey", [0.8, 0.2]),
        ("rotation", [0.25] * 4),
        ("noise", [0.5, 0.5]),
        ("sobel", [0.5, 0.5]),
    ],
)
def test_answers_are_as_frequent_as_in_the_paper(task, shares):
    source = transformed(task, shapes_source("train", side=2), size=2)
    labels = np.concatenate([r["label"] for r in source.records(None).batch(5000).as_numpy_iterator()])
    np.testing.assert_allclose(np.bincount(labels) / len(labels), shares, atol=0.02)
    assert source.num_classes == len(source.class_names) == len(shares)


@pytest.mark.parametrize("options", [{"source": shapes("train[20:40]")}, {"most_images": 15}])
def test_a_image_gets_the_same_whatever_is_beside_it(options):
    """The noise of every pixel too."""
    images, answers = all_of("noise")
    part = transformed("noise", **options)
    index = [index for index, _ in records_of(part)]
    some, some_answers = images_of(part)
    assert len(some) == len(set(index)) == part.num_examples < COUNT
    np.testing.assert_array_equal(some, images[index])
    np.testing.assert_array_equal(some_answers, answers[index])


def test_seed_and_role_decide():
    first = records_of(transformed("rotation"))
    assert first == list(enumerate(all_of("rotation")[1]))
    assert first != records_of(transformed("rotation", seed=SEED + 1))
    assert first != records_of(transformed("rotation", role="test"))


def test_the_images_of_another_seed_are_others():
    first, other = (records_of(transformed("noise", most_images=20, seed=seed)) for seed in (1, 2))
    assert {index for index, _ in first} != {index for index, _ in other}
    assert len(first) == len(other) == 20
    assert transformed("noise", most_images=COUNT + 1).num_examples == COUNT


def test_images_need_no_labels_or_may_have_several():
    unlabelled = dataclasses.replace(shapes(), num_classes=0, class_names=())
    nothing = np.zeros([COUNT, 10], bool)
    several = dataclasses.replace(shapes(), targets=lambda: MultiLabel(nothing, nothing))
    wanted = records_of(transformed("sobel", most_images=15))
    for source in (unlabelled, several):
        assert records_of(transformed("sobel", source, most_images=15)) == wanted


# ---- The answers of the MLPs ----


def corner_source(count, first=0):
    """Images of 4 x 4 pixels with a lighter corner, up and to the left, on noise."""
    images = np.random.default_rng(first).random([count, 4, 4, 3], np.float32) / 2
    images[:, :2, :2] += 0.5
    return dataclasses.replace(
        shapes_source(f"train[:{count}]", side=4),
        records=records_from_table(np.arange(first, first + count), np.zeros(count, int), images),
        decode=lambda image: image,
    )


def corner_model(projected):
    """h: the means of the four quadrants, each channel by itself; g(h) is a function of it."""
    inputs = tf.keras.Input((4, 4, 3), name="images")
    quadrants = tf.keras.layers.AveragePooling2D(2, name="quadrants")(inputs)
    h = tf.keras.layers.Flatten(name="flat")(quadrants)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head_inputs = tf.keras.Input((12,), name="h")
    head = tf.keras.Model(head_inputs, {"proj_head_output": projected(head_inputs)}, name="projection_head")
    return SimCLRModel(encoder, head)


def mean_of_all(h):
    """The same for every rotation: where an image's corner is cannot be recognised from it."""
    by_quadrant = tf.keras.layers.Reshape((4, 3), name="by_quadrant")(h)
    return tf.keras.layers.GlobalAveragePooling1D(name="mean")(by_quadrant)


def unchanged(h):
    return tf.keras.layers.Activation("linear", name="same")(h)


def corners(model, **changed):
    train, test = corner_source(600), corner_source(300, first=600)
    return predicted("rotation", model, train, test, image_size=4, **changed)


@pytest.fixture(scope="module")
def of_corners():
    return corners(corner_model(mean_of_all))


def test_a_rotation_is_told_from_h_and_not_from_a_projection_without_it(of_corners):
    turned = transformed("rotation", corner_source(300, first=600), "test", size=4, seed=0)
    answers = np.array([answer for _, answer in records_of(turned)])
    assert of_corners["from_h"] > 0.98
    assert of_corners["chance"] == pytest.approx(max(np.mean(answers == answer) for answer in range(4)))
    assert of_corners["from_projection"] == pytest.approx(of_corners["chance"], abs=0.07)


def test_features_without_information_give_the_most_frequent_answer():
    """Grey images: nothing tells the answers apart, and the frequent one is not lost by learning by heart."""
    grey = np.random.default_rng(0).random([700, 4, 4, 1], np.float32).repeat(3, axis=-1)

    def part(rows):
        table = records_from_table(np.arange(700)[rows], np.zeros(700, int)[rows], grey[rows])
        count = len(grey[rows])
        return dataclasses.replace(corner_source(count), records=table)

    found = predicted("color_or_grey", corner_model(unchanged), part(slice(500)), part(slice(500, 700)), image_size=4)
    assert 0.7 < found["chance"] < 0.9
    assert found["from_h"] == pytest.approx(found["chance"], abs=0.03)


@pytest.fixture(scope="module")
def small_model():
    tf.keras.utils.set_random_seed(1)
    return small_networks(build_config({"dataset": "shapes", "train_steps": 1}), 10)


def test_a_random_network_keeps_colours(small_model):
    """They can be recognised from h better than by guessing, and no variable of the model changes."""
    before = [compat.raw_variable(v).numpy().tobytes() for v in small_model.named_variables().values()]
    found = predicted("color_or_grey", small_model, shapes("train[:300]"), shapes("test[:200]"))
    assert set(found) == {"from_h", "from_projection", "chance"}
    assert all(type(value) is float and 0 <= value <= 1 for value in found.values())
    assert found["from_h"] > found["chance"] + 0.05
    assert [compat.raw_variable(v).numpy().tobytes() for v in small_model.named_variables().values()] == before


def test_the_same_seed_gives_the_same_numbers(of_corners):
    assert corners(corner_model(mean_of_all)) == of_corners


def test_replicas_give_the_same_numbers(of_corners, mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        model = corner_model(mean_of_all)
    divided = corners(model, strategy=strategy)
    # Features differ by rounding: an image between two answers may get the other one.
    assert divided["from_h"] == pytest.approx(of_corners["from_h"], abs=0.01)
    assert divided["from_projection"] == pytest.approx(of_corners["from_projection"], abs=0.05)
    assert divided["chance"] == of_corners["chance"]


def test_both_splits_are_bounded(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "extracted", lambda model, source, *args, **options: asked.append(source) or ({}, []))
    monkeypatch.setattr(module, "_require_every_answer", lambda answers, source: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        corners(corner_model(unchanged), most_images=250)
    assert [source.num_examples for source in asked] == [250, 250]


# ---- Bad input, and an end before the end ----


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(InputError, match="must be one of: color_or_grey, rotation, noise, sobel"):
        predicted("blur", None, shapes(), shapes())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"most_images": 0}, "`most_images` must be >= 1"),
        ({"image_size": 0}, "`image_size` must be >= 1"),
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        (
            {"most_images": 30},
            r"at least 10 images of every answer.*degrees' among 30 images",
        ),
    ],
)
def test_bad_input_teaches(small_model, changed, message):
    with pytest.raises(InputError, match=message) as caught:
        predicted("rotation", small_model, shapes(), shapes(), **changed)
    assert "\n" not in str(caught.value)


def test_an_unknown_role():
    with pytest.raises(InputError, match="`role` must be one of: train, test"):
        transformed("noise", role="validation")


def test_a_model_without_a_projection_head():
    encoder = corner_model(unchanged).encoder
    with pytest.raises(InputError, match="proj_head_output"):
        corners(SimCLRModel(encoder))


def test_features_that_are_not_finite():
    def broken(h):
        return tf.keras.layers.Lambda(lambda x: x / 0.0, output_shape=(12,), name="broken")(h)

    with pytest.raises(InputError, match=r"features that are not finite\. Received: proj_head_output of shapes"):
        corners(corner_model(broken))


@pytest.mark.parametrize("hidden", ["sklearn", "sklearn.neural_network"])
def test_a_missing_scikit_learn_is_named_before_any_work(monkeypatch, hidden):
    monkeypatch.setitem(sys.modules, hidden, None)
    monkeypatch.delitem(sys.modules, "sklearn.neural_network" if hidden == "sklearn" else "", raising=False)
    with pytest.raises(InputError, match=r"Predicting transformations needs the package scikit-learn.*pip install"):
        predicted("noise", None, None, None)


def test_an_interrupted_training_is_no_result(monkeypatch):
    from sklearn.neural_network import MLPClassifier

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_update_no_improvement_count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corners(corner_model(unchanged))
