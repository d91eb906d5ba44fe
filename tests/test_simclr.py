"""SimCLR as a Keras model: what `run.py` trains, on one replica and on several, saved and loaded."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_simclr
from tests.conftest import TINY_FLAGS
from tf_simclr import compat
from tf_simclr.cli.flags import parse
from tf_simclr.cli.main import run_task
from tf_simclr.cli.train_flags import FLAG_GROUPS
from tf_simclr.config import build_config
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.errors import InputError
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.optimizers import is_no_kernel
from tf_simclr.simclr_probe import evaluation_views, first_of, probe_trainer
from tf_simclr.train import checkpoints

STEPS, BATCH, SIZE = 4, 16, 16
PARTS = ("encoder", "projection_head", "supervised_head", "online_head")


def values_of(named):
    return {path: compat.raw_variable(v).numpy() for path, v in named.items()}


def state_of(model):
    """All that is trained but the optimizer's slots, by the paths of a run's checkpoint."""
    return values_of(model.parts.named_variables() | model.probe_state.named())


def worst(got, want):
    """Largest difference of a whole state, each tensor relative to its own largest value."""
    assert want.keys() == got.keys() and len(want) > 10
    return max(np.abs(got[k] - want[k]).max() / max(np.abs(want[k]).max(), 1e-3) for k in want)


# ---- fit is run.py ----


def run_py(directory, *flags):
    """The weights that `python run.py` ends with, by path, and its config."""
    argv = [*TINY_FLAGS, "--seed=5", "--mode=train", "--strategy=one_device", f"--model_dir={directory}", *flags]
    assert run_task("train", argv) == 0
    prefix = checkpoints.resolve(str(directory))
    assert prefix.endswith(f"-{STEPS}")
    paths = [path for path in checkpoints.shapes_in(prefix) if path.split("/")[0] in PARTS]
    return build_config(parse(argv, FLAG_GROUPS).values), checkpoints.read_values(prefix, paths)


def fitted(config, optimizer, loss, weight_decay=None):
    tf.keras.utils.set_random_seed(config.runtime.seed)
    augmentation = tf_simclr.layers.SimCLRAugmentation(SIZE, blur=False, seed=config.runtime.seed)
    model = tf_simclr.SimCLR(
        tf_simclr.resnet(10, 0.0625, "cifar"),
        tf_simclr.layers.ProjectionHead(16, num_layers=2),
        loss=loss,
        probe_classes=10,
    )
    model.compile(optimizer, weight_decay=weight_decay)
    images = tf_simclr.image_dataset(
        "shapes", split="train[:48]", batch_size=BATCH, augmentation=augmentation, say=lambda line: None
    )
    model.fit(images, epochs=2, steps_per_epoch=STEPS // 2, verbose=0)
    return model


def test_fit_ends_with_the_weights_of_run_py(tmp_path):
    config, want = run_py(tmp_path, "--temperature=0.3", "--weight_decay=0.01", "--warmup_epochs=0.4")
    schedule = tf_simclr.schedules.WarmupCosine(
        config.optimizer.peak_learning_rate(BATCH), warmup_steps=1, total_steps=STEPS
    )
    model = fitted(config, tf_simclr.optimizers.LARS(schedule, weight_decay=0.01), tf_simclr.losses.NTXent(0.3))
    assert worst(state_of(model), want) < 1e-4
    assert int(model.optimizer.iterations.numpy()) == want["online_head/steps"] == STEPS
    assert worst(state_of(tf_simclr.load(str(tmp_path))), want) == 0


def test_fit_with_momentum_and_another_loss_is_run_py(tmp_path):
    flags = ("--optimizer=momentum", "--learning_rate=0.2", "--weight_decay=0.01", "--loss=nt_logistic", "--semi_hard")
    config, want = run_py(tmp_path, *flags)
    schedule = tf_simclr.schedules.WarmupCosine(config.optimizer.peak_learning_rate(BATCH), 0, STEPS)
    model = fitted(
        config,
        tf.keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        tf_simclr.losses.NTLogistic(semi_hard=True),
        weight_decay=0.01,
    )
    assert worst(state_of(model), want) < 1e-4


# ---- A small one, for everything else ----


def small_encoder(dtype="float32"):
    """Two convolutions: a narrow ResNet would magnify float32 noise, and takes long to trace."""
    inputs = tf.keras.Input((None, None, 3), name="images")
    x = inputs
    for number, width in enumerate((6, 8)):
        x = tf.keras.layers.Conv2D(width, 3, use_bias=False, name=f"conv{number}", dtype=dtype)(x)
        x = tf_simclr.layers.GlobalBatchNorm(name=f"norm{number}", dtype=dtype)(x)
        x = tf.keras.layers.Activation("relu", name=f"relu{number}", dtype=dtype)(x)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    return tf.keras.Model(inputs, {"final_avg_pool": h, "map": x}, name="encoder")


def small(optimizer=None, encoder=None, **options):
    tf.keras.utils.set_random_seed(1)
    model = tf_simclr.SimCLR(
        encoder or small_encoder(),
        tf_simclr.layers.ProjectionHead(5, num_layers=2),
        **{"loss": tf_simclr.losses.NTXent(0.5), "probe_classes": 3} | options,
    )
    model.compile(optimizer or tf_simclr.optimizers.LARS(20.0, weight_decay=1e-3))
    return model


def pairs(n=12, side=8):
    rng = np.random.default_rng(0)
    views = rng.uniform(size=(2, n, side, side, 3)).astype(np.float32)
    return tuple(views), rng.integers(0, 3, n)


def dataset_of(views, labels=None, batch=12, times=3):
    elements = views if labels is None else (views, labels)
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch).repeat(times)


def test_replicas_are_one_with_the_whole_batch(mirrored):
    alone = small(tf_simclr.optimizers.LARS(2.0, weight_decay=1e-3))
    want = alone.fit(dataset_of(*pairs()), verbose=0).history
    with mirrored(2).scope():
        model = small(tf_simclr.optimizers.LARS(2.0, weight_decay=1e-3))
    got = model.fit(dataset_of(*pairs()), verbose=0).history
    assert got.keys() == want.keys() >= {"loss", "contrast_loss", "contrast_acc", "supervised_loss", "weight_decay"}
    for name in want:
        assert got[name] == pytest.approx(want[name], rel=1e-4, abs=1e-5), name
    assert worst(state_of(model), state_of(alone)) < 1e-4
    got, want = (m.evaluate(dataset_of(*pairs()), verbose=0, return_dict=True) for m in (model, alone))
    assert got.keys() == want.keys()
    for name in want:
        # Rounding may turn one of the 24 anchors from a miss into a hit.
        assert got[name] == pytest.approx(want[name], rel=1e-4, abs=1.1 / 24 if name.endswith("_acc") else 1e-5), name


@pytest.mark.parametrize("optimizer", [tf_simclr.optimizers.LARS, tf_simclr.optimizers.LAMB])
def test_only_kernels_of_encoder_and_head_are_decayed_and_adapted(optimizer):
    model = small(optimizer(0.1, weight_decay=0.5))
    trained = {id(v) for v in model._updater.variables}
    decayed = {path for path, v in model.parts.named_variables().items() if id(v) in trained and not is_no_kernel(v)}
    assert decayed == {
        "encoder/conv0/kernel",
        "encoder/conv1/kernel",
        "projection_head/layer1_dense/kernel",
        "projection_head/layer2_dense/kernel",
    }


def test_the_probe_never_reaches_the_encoder():
    views, labels = pairs()
    models = [small(), small(probe_classes=0)]
    models[0].fit(dataset_of(views, labels), verbose=0)
    models[1].fit(dataset_of(views), verbose=0)
    with_probe, without = (values_of(model.parts.named_variables()) for model in models)
    assert len(without) > 10
    assert all(np.array_equal(with_probe[path], without[path]) for path in without)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_and_loss_in_float32(policy):
    tf.keras.utils.set_random_seed(1)
    model = small(encoder=small_encoder(policy))
    assert model._updater.dynamic_scale == (policy == "mixed_float16")
    before = values_of(model.parts.named_variables())
    history = model.fit(dataset_of(*pairs()), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    after = values_of(model.parts.named_variables())
    assert all(value.dtype == np.float32 for value in after.values())
    assert not np.array_equal(after["encoder/conv0/kernel"], before["encoder/conv0/kernel"])
    assert model.predict(pairs()[0][0], verbose=0)["final_avg_pool"].dtype == np.float32


# ---- The probe ----


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}], ids=lambda o: next(iter(o))
)
def test_ways_to_compile_change_nothing(options):
    def trained(**options):
        model = small()
        model.compile(tf_simclr.optimizers.LARS(2.0), **options)
        model.fit(tf.data.Dataset.from_tensors(batch).repeat(3), verbose=0)
        return state_of(model)

    views, labels = pairs()
    batch = {"views": views, "label": labels, "plain": views[0]}
    assert worst(trained(**options), trained()) < 1e-3


def test_the_probe_learns_from_what_evaluation_sees():
    """Where that comes with the views; the encoder does not notice."""
    views, labels = pairs()
    states = []
    for batch in ({"views": views, "label": labels}, {"views": views, "label": labels, "plain": views[0] ** 2}):
        model = small()
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        states.append(state_of(model))
    moved = {path for path in states[0] if not np.array_equal(states[0][path], states[1][path])}
    assert "online_head/mean" in moved
    assert all(path.startswith(("online_head", "supervised_head")) for path in moved)


@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_what_evaluation_sees_of_a_batch_is_what_it_sees_of_each_image(crop):
    images = np.random.default_rng(0).random((3, 13, 10, 3), dtype=np.float32)
    want = tf.stack([evaluation_view(image, 8, crop) for image in images])
    got = tf.function(evaluation_views)(tf.constant(images), 8, crop)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_how_many_images_the_probe_learns_from(mirrored):
    unknown = tf.function(first_of, input_signature=[tf.TensorSpec([None], tf.int32)])
    for batch, count in ((12, 12), (200, 128), (600, 150), (601, 150)):
        assert first_of(tf.range(batch)).shape == unknown(tf.range(batch)).shape == (count,)
    for images in mirrored(2).run(first_of, (tf.range(96),)).values:
        np.testing.assert_array_equal(images, np.arange(64))


def test_the_rate_of_the_probe_has_the_lengths_of_the_schedule():
    """A rate without them stays; a new optimizer begins anew, and keeps what it knows of h."""
    lengths = []
    for rate in (tf_simclr.schedules.WarmupCosine(1.0, 2, 9), 1.0):
        model = small(tf.keras.optimizers.SGD(rate))
        online = probe_trainer(model.probe, model.probe_state, model.optimizer, 0.0)
        lengths.append((online._lengths["warmup_steps"], online._lengths["train_steps"]))
    assert lengths == [(2, 9), (0, None)]
    model.fit(dataset_of(*pairs()), verbose=0)
    before = state_of(model)
    model.compile("sgd")
    after = state_of(model)
    assert before["online_head/steps"] == 3 and after["online_head/steps"] == 0
    assert not after["online_head/velocity/kernel"].any()
    np.testing.assert_array_equal(after["online_head/mean"], before["online_head/mean"])


def test_a_large_rate_of_lars_does_not_throw_the_probe_off():
    model = small(tf_simclr.optimizers.LARS(100.0))
    losses = model.fit(dataset_of(*pairs(), times=5), epochs=3, verbose=0).history["supervised_loss"]
    assert max(losses) < np.log(3) + 0.5


# ---- Data ----


def test_images_arrays_and_pairs_are_taken():
    augmentation = tf_simclr.layers.SimCLRAugmentation(8, blur=False, seed=3)
    images = np.random.default_rng(0).integers(0, 256, (12, 10, 10, 3), dtype=np.uint8)
    labels = np.arange(12) % 3
    views = augmentation(images, index=tf.range(12), epoch=0)
    plain = tf.stack([evaluation_view(tf.constant(image / np.float32(255)), 8, 1.0) for image in images])
    states = []
    for data, options in (
        ((images, labels), {"batch_size": 12, "shuffle": False}),
        ((tf.data.Dataset.from_tensor_slices((images, labels)).batch(12),), {}),
        ((tf.data.Dataset.from_tensors({"views": views, "label": labels, "plain": plain}),), {}),
    ):
        model = small(augmentation=tf_simclr.layers.SimCLRAugmentation(8, blur=False, seed=3))
        model.fit(*data, **options, verbose=0)
        states.append(state_of(model))
    assert all(worst(state, states[0]) < 1e-5 for state in states[1:])


def test_evaluation_changes_nothing_and_repeats_itself():
    model = small(augmentation=tf_simclr.layers.SimCLRAugmentation(8, blur=False))
    images, labels = pairs()[0][0], pairs()[1]
    before = values_of(model.parts.named_variables())
    first, second = (model.evaluate(images, labels, verbose=0, return_dict=True) for _ in range(2))
    assert first == second and first.keys() >= {"loss", "contrast_acc", "supervised_acc"}
    after = values_of(model.parts.named_variables())
    assert all(np.array_equal(after[path], before[path]) for path in before)
    assert int(model.augmentation.images_seen.numpy()) == 0


def test_predict_gives_vectors_and_a_call_all_endpoints():
    model = small()
    images = pairs()[0][0]
    found, all_endpoints = model.predict(images, verbose=0), model(images)
    assert set(found) == {
        "final_avg_pool",
        "proj_head_input",
        "proj_head_layer1",
        "proj_head_output",
        "logits_sup",
    }
    assert "map" in all_endpoints
    np.testing.assert_allclose(found["logits_sup"], all_endpoints["logits_sup"], atol=1e-5)


def test_an_encoder_of_keras_applications_is_one():
    """A functional model with one vector as output, and Keras's own layers."""
    inputs = tf.keras.Input((None, None, 3))
    x = tf.keras.layers.Conv2D(4, 3)(inputs)
    x = tf.keras.layers.BatchNormalization()(x)
    encoder = tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x), name="mine")
    model = small(encoder=encoder)
    before = encoder.get_weights()
    model.fit(dataset_of(*pairs()), verbose=0)
    assert not np.array_equal(encoder.get_weights()[0], before[0])


# ---- Saved and loaded ----


def test_a_saved_model_goes_on_where_it_was(tmp_path):
    data = dataset_of(*pairs())
    model = small(augmentation=tf_simclr.layers.SimCLRAugmentation(8), class_names=["a", "b", "c"])
    model.fit(data, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf_simclr.load(str(tmp_path / "model.keras"))
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.contrastive_loss.get_config() == model.contrastive_loss.get_config()
    assert loaded.augmentation.get_config() == model.augmentation.get_config()
    assert worst(values_of(loaded.parts.named_variables()), values_of(model.parts.named_variables())) == 0
    for one in (model, loaded):
        one.fit(data, verbose=0)
    assert int(loaded.optimizer.iterations.numpy()) == 6
    assert worst(state_of(loaded), state_of(model)) < 1e-6


@pytest.mark.parametrize("form", ["keras", "weights.h5"])
def test_two_steps_a_file_and_two_more_are_four_steps(form, tmp_path):
    """The probe's statistics and velocities among them; a schedule of four steps gives its rate."""

    def new():
        schedule = tf_simclr.schedules.WarmupCosine(2.0, 1, 4)
        return small(tf_simclr.optimizers.LARS(schedule, weight_decay=1e-3))

    data = dataset_of(*pairs(), times=2)
    whole, part = new(), new()
    for _ in range(2):
        whole.fit(data, verbose=0)
    part.fit(data, verbose=0)
    path = str(tmp_path / f"model.{form}")
    if form == "keras":
        part.save(path)
        rest = tf_simclr.load(path)
    else:
        part.save_weights(path)
        rest = new()
        rest.load_weights(path)
    before = state_of(rest)
    assert before["online_head/steps"] == 2 and worst(before, state_of(part)) == 0
    rest.fit(data, verbose=0)
    assert worst(state_of(rest), state_of(whole)) < 1e-6
    assert not np.array_equal(state_of(whole)["supervised_head/dense/kernel"], before["supervised_head/dense/kernel"])


def test_weights_alone_are_saved_and_loaded(tmp_path):
    model = small()
    model.fit(dataset_of(*pairs()), verbose=0)
    model.save_weights(str(tmp_path / "model.weights.h5"))
    tf.keras.utils.set_random_seed(7)
    other = tf_simclr.SimCLR(small_encoder(), tf_simclr.layers.ProjectionHead(5, num_layers=2), probe_classes=3)
    other.load_weights(str(tmp_path / "model.weights.h5"))
    assert worst(state_of(other), state_of(model)) == 0


def test_labels_reach_a_loss_that_learns_from_them():
    """On one step, `evaluate` gives the loss of the projections with these labels, and `fit` needs them."""
    views, labels = pairs()
    model = small(loss=tf_simclr.losses.SupCon(0.5), probe_classes=0)
    found = model.evaluate(dataset_of(views, labels, times=1), return_dict=True, verbose=0)
    z = [model(view)["proj_head_output"] for view in views]
    want = model.contrastive_loss(*z, labels=labels)
    assert found["contrast_loss"] == pytest.approx(float(want), rel=1e-4)
    assert float(want) != pytest.approx(float(tf_simclr.losses.NTXent(0.5)(*z)), rel=1e-3)
    history = model.fit(dataset_of(views, labels), verbose=0).history
    unlabelled = small(loss=tf_simclr.losses.SupCon(0.5), probe_classes=0)
    other = unlabelled.fit(dataset_of(views, np.full(12, -1)), verbose=0).history
    assert history["contrast_loss"][0] != pytest.approx(other["contrast_loss"][0], rel=1e-3)
    # Keras 2 wraps what it raises while it traces.
    with pytest.raises(Exception, match="needs labels"):
        model.fit(dataset_of(views), verbose=0)


# ---- Errors ----


@pytest.mark.parametrize("loss", [nt_xent, "mse", lambda a, b: 0.0, tf.keras.losses.MeanSquaredError()])
def test_compile_refuses_what_is_no_contrastive_loss(loss):
    with pytest.raises(InputError, match=r"NTXent\(\)"):
        small().compile("sgd", loss=loss)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": tf.keras.layers.Dense(3)}, "ProjectionHead"),
        ({"encoder": tf.keras.Sequential([tf.keras.layers.Dense(3)])}, "functional"),
        ({"augmentation": tf_simclr.layers.SimCLRAugmentation(8, views=3)}, "two views"),
        ({"loss": nt_xent}, "NTXent"),
        ({"probe_classes": -1}, "probe_classes"),
        ({"probe_input": 7}, "ft_proj_selector"),
    ],
)
def test_parts_of_another_kind_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        tf_simclr.SimCLR(**{"encoder": small_encoder()} | options)


def test_xla_and_an_augmentation_in_the_model_are_refused():
    model = small(augmentation=tf_simclr.layers.SimCLRAugmentation(8))
    model.compile("sgd", jit_compile=True)
    for use in (model.fit, model.evaluate):
        with pytest.raises(Exception, match="`jit_compile` must be False"):
            use(pairs()[0][0], pairs()[1], verbose=0)


def test_two_weight_decays_are_refused():
    with pytest.raises(InputError, match="weight_decay"):
        small().compile(tf_simclr.optimizers.LARS(0.1), weight_decay=0.1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: (pairs()[0][0], pairs()[1]), "augmentation"),
        (lambda: (dataset_of(pairs()[0]),), "needs labels"),
        (lambda: (dataset_of((*pairs()[0], pairs()[0][0]), pairs()[1]),), "two views"),
        (lambda: (dataset_of(pairs()[0], np.eye(3)[pairs()[1]]),), "one-hot"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(data, words):
    # Keras 2 wraps what it raises while it traces.
    with pytest.raises(Exception, match=words):
        small().fit(*data(), verbose=0)
