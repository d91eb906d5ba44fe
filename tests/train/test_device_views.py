"""Views that the step makes on the device are those of the input pipeline, apart from the rounding of the crops."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.config import OPERATORS, OperatorOption, build_config
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy, apply_views, draw_view, to_levels
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import example_key
from tf_simclr.train import input
from tf_simclr.train.device_views import DeviceViews, choose_place, given_views, place_on, xla_problem

IMAGES, BATCH = 4, 8
# Half a level: what rounding a crop changes. Contrast and saturation enlarge it, each by up to 1.8.
HALF_LEVEL = 1 / 510
ROUNDING = 2e-5
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")


def crops_and_draws(policy, num_views, images=IMAGES):
    """What the host sends of some images: smooth ones with noise, so that every operator has something to do."""
    rng, side = np.random.default_rng(0), policy.image_size
    smooth = tf.image.resize(rng.random([num_views * images, 5, 5, 3]), [side, side], "bicubic")
    noisy = np.clip(smooth + 0.05 * rng.normal(size=smooth.shape), 0, 1).astype(np.float32)
    crops = tuple(tf.split(to_levels(tf.constant(noisy)), num_views))
    drawn = draw_view(policy, example_key(3, 0, tf.range(images)[:, tf.newaxis], tf.range(num_views)), (side, side))
    return {"crops": crops[: 1 if policy.one_branch else num_views], "draws": drawn}


def check_same(policy, num_views, compiled):
    batch = crops_and_draws(policy, num_views)
    wanted = apply_views(policy, batch["crops"], batch["draws"], num_views)
    made = DeviceViews(policy, num_views, compiled=compiled)(batch)
    assert [view.shape for view in made] == [[IMAGES, *[policy.image_size] * 2, 3]] * num_views
    np.testing.assert_allclose(made, wanted, atol=ROUNDING)


# ---- Operators ----


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_does_the_same_where_xla_compiles_it(name):
    """Half of the images get it, so that both cases are there."""
    check_same(ViewPolicy.composed(16, [OperatorOption(name, probability=0.5)]), 2, compiled=True)


@pytest.mark.parametrize("name", ["crop", "color_jitter", "noise"])
def test_one_branch_and_no_compiler(name):
    """Here "crop" is an operator, inside the crop that the views have in common."""
    policy = ViewPolicy.composed(16, [OperatorOption(name, probability=0.5)], one_branch=True)
    check_same(policy, 2, compiled=name == "crop")


@pytest.mark.parametrize("side", [16, 72])
def test_one_view_and_large_views(side):
    check_same(ViewPolicy.crop_and_flip(side), 1, compiled=True)
    check_same(ViewPolicy(side), 2, compiled=False)
    check_same(ViewPolicy(side, color_jitter_impl="simclrv2", blur=False), 1, compiled=False)


def test_all_operators_together_compile():
    options = [OperatorOption(name, probability=0.5) for name in OPERATORS if name != "autoaugment"]
    check_same(ViewPolicy.composed(24, options), 2, compiled=True)


def test_a_part_of_a_batch_has_the_views_of_the_whole():
    policy = ViewPolicy(16)
    batch, rows = crops_and_draws(policy, 2), tf.constant([2, 0])
    views, compiled = (DeviceViews(policy, 2, compiled=by_xla) for by_xla in (False, True))
    for part, whole in zip(compiled(batch, rows), views(batch), strict=True):
        np.testing.assert_allclose(part, tf.gather(whole, rows), atol=ROUNDING)
    given = {"views": views(batch)}
    for keep in (given_views, views):
        np.testing.assert_array_equal(keep(given, rows), [tf.gather(view, rows) for view in given["views"]])


# ---- The pipeline ----


def config_of(**values):
    """Of a run on few images."""
    tiny = {"dataset": "shapes", "train_split": "train[:48]", "image_size": 16, "train_batch_size": BATCH}
    return build_config(tiny | {"optimizer": "momentum", "learning_rate": 0.1, "warmup_epochs": 0} | values)


@functools.cache
def images():
    return shapes_source("train[:48]")


def batches(config, strategy=ONE_DEVICE, start=0, **options):
    return input.build_train_iterator(config, images(), strategy, start, **options)


@pytest.mark.parametrize(
    "flags,most",
    [
        ({"train_mode": "finetune"}, 1.001),
        ({"train_mode": "finetune", "image_size": 80}, 1.001),
        ({"color_jitter_strength": 0.5, "use_blur": False}, 6),
        ({"image_size": 80}, 10),
    ],
)
def test_host_and_device_differ_by_the_rounding_of_crops(flags, most):
    config = config_of(**flags)
    policy, num_views = input.view_policy(config)
    host, sent = next(batches(config)), next(batches(config, host_only=True))
    np.testing.assert_array_equal(host["index"], sent["index"])
    assert {crop.dtype for crop in sent["crops"]} == {tf.uint8}
    difference = np.abs(np.subtract(host["views"], DeviceViews(policy, num_views)(sent)))
    assert 0.1 * HALF_LEVEL < difference.mean() < 0.6 * HALF_LEVEL
    assert difference.max() < most * HALF_LEVEL


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_compile_their_views_by_themselves(replicas, mirrored):
    """What GPUs do where the step cannot be compiled as a whole."""
    strategy, config = mirrored(replicas), config_of(augmentation="crop,flip,cutout,color_drop")
    policy, num_views = input.view_policy(config)
    compiled, plain = (DeviceViews(policy, num_views, compiled=by_xla) for by_xla in (True, False))

    @tf.function
    def largest_difference(batch):
        def of_replica(batch):
            return tf.reduce_max(tf.abs(tf.stack(compiled(batch)) - tf.stack(plain(batch))))

        return strategy.reduce("SUM", strategy.run(of_replica, (batch,)), axis=None)

    assert largest_difference(next(batches(config, strategy, host_only=True))) < ROUNDING


def test_a_run_goes_on_with_the_same_images(monkeypatch):
    config = config_of()
    whole = list(itertools.islice(batches(config), 3))
    later = next(batches(config, start=2, host_only=True))
    for field in ("index", "epoch", "label"):
        np.testing.assert_array_equal(whole[2][field], later[field])
    views = DeviceViews(*input.view_policy(config))(later)
    np.testing.assert_allclose(views, whole[2]["views"], atol=10 * HALF_LEVEL)
    np.testing.assert_allclose(tf.cast(later["plain"], tf.float32) / 255, whole[2]["plain"], atol=1.001 * HALF_LEVEL)


# ---- The choice ----


def test_auto_is_the_host_on_cpus_and_the_device_is_said():
    for strategy in (ONE_DEVICE, tf.distribute.get_strategy()):
        assert not choose_place(config_of(), strategy).on_device
        place = choose_place(config_of(augment_on="device"), strategy)
        assert (place.on_device, place.compiled) == (True, False)
        assert place.note == "the CPU augments: the host sends 8-bit crops (--augment_on=device)"


def test_a_gpu_that_xla_cannot_compile_for_leaves_it_to_the_host_or_refuses():
    """There is no GPU here."""
    strategy = tf.distribute.OneDeviceStrategy("GPU:7")
    place = choose_place(config_of(), strategy)
    assert not place.on_device
    assert place.note.startswith("note: the host augments: XLA cannot compile for ") and "GPU:7" in place.note
    with pytest.raises(
        InputError, match=r"`augment_on` device .* Received: augment_on=device\. Pass --augment_on=host"
    ):
        choose_place(config_of(augment_on="device"), strategy)
    assert choose_place(config_of(augment_on="host"), strategy) == choose_place(config_of(), ONE_DEVICE)
    assert xla_problem("CPU:0") is None


def test_a_tpu_augments_unless_it_would_look_up_every_pixel():
    tpu = "/job:worker/replica:0/task:0/device:TPU:0"
    assert place_on(tpu, config_of()).note == "the TPU augments: the host sends 8-bit crops (--augment_on=auto)"
    lookups = {"augmentation": "crop,autoaugment"}
    place = place_on(tpu, config_of(**lookups))
    assert not place.on_device and place.note.startswith("note: the host augments: a TPU is slow at")
    assert place_on(tpu, config_of(augment_on="device", **lookups)).on_device


def test_another_place_is_refused():
    with pytest.raises(InputError, match="`augment_on` must be one of: auto, host, device"):
        config_of(augment_on="gpu")
