"""The feature cache: the right numbers, computed once, and never trusted when something about them is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.data.shapes import render_shapes, shapes_source
from tf_simclr.data.source import records_from_table
from tf_simclr.data.subset import class_balanced
from tf_simclr.errors import InputError, UnwritableError
from tf_simclr.evaluate import features as features_module
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract, endpoint_names, extracted, in_memory
from tf_simclr.evaluate.feature_store import FeatureKey, open_features, written_features
from tf_simclr.evaluate.features import cached_features, model_digest
from tf_simclr.nn import heads
from tf_simclr.nn.blocks import BlockStyle, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import build_encoder
from tf_simclr.train import checkpoints
from tf_simclr.train.checkpoint_store import CheckpointStore

SIDE, COUNT, BATCH = 8, 22, 12
ALL = ("block_group1", "final_avg_pool", "proj_head_layer1", "proj_head_output", "logits_sup")


def small_model(seed=0) -> SimCLRModel:
    """A convolution with batch norm and both heads; every variable, moving statistics too, has a random value."""
    style = BlockStyle(norm=BatchNorm)
    inputs = tf.keras.Input((None, None, 3), name="images")
    maps = norm_relu(conv(inputs, 6, 3, 2, "stem_conv", style), "stem", "", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    encoder = tf.keras.Model(inputs, {"block_group1": maps, "final_avg_pool": h}, name="encoder")
    head = heads.build_projection_head("nonlinear", 6, 5, 2, style.norm)
    model = SimCLRModel(encoder, head, heads.build_supervised_head(6, 4))
    generator = np.random.default_rng(seed)
    for variable in model.named_variables().values():
        variable.assign(generator.uniform(0.1, 0.5, variable.shape).astype(np.float32))
    return model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def source():
    return shapes_source(f"train[:{COUNT}]", side=SIDE)


ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")


def cached(model, source, directory, **changed):
    of_loader = {"strategy": ONE_DEVICE, "batch_size": BATCH, "image_size": SIDE, "eval_crop": None}
    loader = EvalLoader(**{name: changed.pop(name, value) for name, value in of_loader.items()})
    return cached_features(model, source, str(directory), loader, **({"say": lambda line: None} | changed))


def values_of(model):
    return {name: compat.raw_variable(v).numpy().tobytes() for name, v in model.named_variables().items()}


class Lines(list):
    """Collects what is said."""

    def __call__(self, line):
        assert "\n" not in line
        self.append(line)


# ---- The right numbers ----


def test_every_endpoint_equals_the_model_on_the_images(model, source, tmp_path):
    images, labels = render_shapes(0, "train", 0, COUNT, SIDE)
    wanted = model.endpoints(tf.constant(images / np.float32(255)), training=False)
    found = cached(model, source, tmp_path, endpoints=ALL)
    assert tuple(found) == ALL
    for name, cache in found.items():
        expected = wanted[name].numpy()
        expected = expected.mean((1, 2)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(cache.features, expected, atol=1e-5)
        np.testing.assert_array_equal(cache.labels, labels)
        assert (cache.features.dtype, cache.labels.dtype) == (np.float32, np.int64)
        assert isinstance(cache.features, np.memmap) and isinstance(cache.labels, np.memmap)
        assert not cache.features.flags.writeable and not cache.labels.flags.writeable
    np.testing.assert_allclose(found["block_group1"].features, found["final_avg_pool"].features, atol=1e-6)


def test_a_feature_by_hand(tmp_path):
    """The encoder is the mean of an image's channels: images of one grey level have it as their feature."""
    inputs = tf.keras.Input((None, None, 3), name="images")
    maps = tf.keras.layers.Activation("linear", name="same")(inputs)
    mean = tf.keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    model = SimCLRModel(tf.keras.Model(inputs, {"maps": maps, "final_avg_pool": mean}, name="encoder"))
    grey = np.array([0, 51, 255, 51, 102])
    source = dataclasses.replace(
        shapes_source("train[:5]", side=2),
        records=records_from_table(np.arange(5), [3, -1, 0, 0, 1], np.tile(grey[:, None, None, None], (1, 2, 2, 3))),
    )
    found = cached(model, source, tmp_path, endpoints=["final_avg_pool", "maps"], image_size=2)
    for cache in found.values():
        np.testing.assert_allclose(cache.features, np.repeat([[0.0], [0.2], [1.0], [0.2], [0.4]], 3, 1), atol=1e-6)
        assert cache.labels.tolist() == [3, -1, 0, 0, 1]


def test_no_variable_changes(model, source, tmp_path):
    before = values_of(model)
    cached(model, source, tmp_path, endpoints=ALL)
    assert values_of(model) == before
    # The check would notice: a pass in training mode moves the statistics.
    other = small_model()
    other.endpoints(tf.random.uniform([4, SIDE, SIDE, 3]), training=True)
    assert values_of(other) != before


@pytest.mark.parametrize("batch_size", [1, 5, 22, 64])
def test_the_batch_size_does_not_matter(model, source, tmp_path, batch_size):
    one = cached(model, source, tmp_path / "one", endpoints=ALL)
    other = cached(model, source, tmp_path / "other", endpoints=ALL, batch_size=batch_size)
    for name in ALL:
        np.testing.assert_allclose(one[name].features, other[name].features, atol=1e-5)
        np.testing.assert_array_equal(one[name].labels, other[name].labels)


@pytest.mark.parametrize("replicas", [2, 3])
def test_the_number_of_replicas_does_not_matter(model, source, tmp_path, mirrored, replicas):
    one = cached(model, source, tmp_path / "one", endpoints=ALL)
    strategy = mirrored(replicas)
    with strategy.scope():
        copy = small_model()
    before = values_of(copy)
    many = cached(copy, source, tmp_path / "many", endpoints=ALL, strategy=strategy)
    assert values_of(copy) == before and model_digest(copy) == model_digest(model)
    for name in ALL:
        np.testing.assert_allclose(one[name].features, many[name].features, atol=1e-5)
        np.testing.assert_array_equal(one[name].labels, many[name].labels)
        assert pathlib.Path(one[name].path).name == pathlib.Path(many[name].path).name  # either serves the other


def test_an_unlabelled_split(model, tmp_path):
    images, _ = render_shapes(0, "train", 0, 5, SIDE)
    labelled = shapes_source("train[:5]", side=SIDE)
    records = records_from_table(np.arange(5), np.full(5, -1), images)
    unlabelled = dataclasses.replace(labelled, num_classes=0, class_names=(), split="all", records=records)
    found = cached(model, unlabelled, tmp_path)["final_avg_pool"]
    assert found.labels.tolist() == [-1] * 5
    np.testing.assert_allclose(found.features, cached(model, labelled, tmp_path)["final_avg_pool"].features, atol=1e-6)


def test_the_central_crop(model, tmp_path):
    source = shapes_source("train[:3]", side=16)
    images, _ = render_shapes(0, "train", 0, 3, 16)
    for crop in (1.0, 0.875, 0.5):
        views = tf.stack([evaluation_view(tf.constant(x / np.float32(255)), SIDE, crop) for x in images])
        wanted = model.endpoints(views, training=False)["final_avg_pool"]
        found = cached(model, source, tmp_path, eval_crop=crop)["final_avg_pool"]
        np.testing.assert_allclose(found.features, wanted, atol=1e-5)
    # Without being told: small images are not cropped.
    again = cached(model, source, tmp_path)["final_avg_pool"]
    assert again.path == cached(model, source, tmp_path, eval_crop=1.0)["final_avg_pool"].path


def test_progress(model, source, tmp_path):
    seen = []
    cached(model, source, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(12, 22), (22, 22)]


# ---- In memory ----


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_in_memory_they_are_those_of_the_cache(model, source, tmp_path, mirrored, replicas):
    wanted = cached(model, source, tmp_path, endpoints=ALL)
    strategy = mirrored(replicas) if replicas > 1 else ONE_DEVICE
    with strategy.scope():
        copy = small_model()
    before = values_of(copy)
    features, labels = extracted(copy, source, EvalLoader(strategy, BATCH, SIDE), ALL)
    assert values_of(copy) == before and set(features) == set(ALL)
    for name in ALL:
        assert features[name].dtype == np.float32 and labels.dtype == np.int64
        np.testing.assert_allclose(features[name], wanted[name].features, atol=1e-5)
        np.testing.assert_array_equal(labels, wanted[name].labels)


def test_one_traced_pass_follows_a_model_that_is_trained(source):
    model = small_model()
    extract = build_extract(model, ONE_DEVICE, ALL)
    batches = EvalLoader(ONE_DEVICE, BATCH, SIDE, 1.0).batches(source)
    first, _ = in_memory(extract, batches, source)
    for variable, changed in zip(
        model.named_variables().values(), small_model(1).named_variables().values(), strict=True
    ):
        variable.assign(changed)
    second, _ = in_memory(extract, batches, source)
    wanted, _ = extracted(model, source, EvalLoader(ONE_DEVICE, BATCH, SIDE), ALL)
    assert extract.experimental_get_tracing_count() == 1
    for name in ALL:
        assert np.abs(first[name] - second[name]).max() > 1e-3
        np.testing.assert_array_equal(second[name], wanted[name])


# ---- Once ----


@pytest.fixture
def passes(monkeypatch):
    """The endpoints of each pass of an encoder."""
    found, real = [], features_module._compute

    def counted(model, source, directory, loader, keys, *rest):
        found.append([key.endpoint for key in keys])
        return real(model, source, directory, loader, keys, *rest)

    monkeypatch.setattr(features_module, "_compute", counted)
    return found


def test_each_endpoint_is_computed_once(model, source, tmp_path, passes):
    say = Lines()
    first = cached(model, source, tmp_path, endpoints=ALL[:2], say=say)
    again = cached(model, source, tmp_path, endpoints=ALL[:2], say=say)
    assert passes == [list(ALL[:2])] and say == [
        "computing block_group1, final_avg_pool of 22 images of shapes, train[:22]"
    ]
    more = cached(model, source, tmp_path, endpoints=ALL[:3], say=say)
    assert passes == [list(ALL[:2]), [ALL[2]]] and tuple(more) == ALL[:3]
    for name in ALL[:2]:
        np.testing.assert_array_equal(first[name].features, again[name].features)
        np.testing.assert_array_equal(first[name].features, more[name].features)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_makes_another_key(model, source, tmp_path, passes):
    base = {"image_size": SIDE, "data_seed": 0, "eval_crop": 1.0}
    cached(model, source, tmp_path, **base)
    few = class_balanced(source, per_class=1, seed=0).source
    other_few = class_balanced(source, per_class=1, seed=1).source
    others = [
        (source, base | {"image_size": SIDE + 1}),
        (source, base | {"eval_crop": 0.875}),
        (source, base | {"data_seed": 1}),
        (dataclasses.replace(source, split="validation[:22]"), base),
        (dataclasses.replace(source, name="other"), base),
        (dataclasses.replace(source, location="/elsewhere"), base),
        (dataclasses.replace(source, fingerprint="0a1b"), base),
        (dataclasses.replace(source, fingerprint="0a1c"), base),
        (source, base | {"reading": "decoder"}),
        (dataclasses.replace(source, num_examples=COUNT - 1, records=lambda seed: source.records(seed).take(21)), base),
        (few, base),
        (other_few, base),
    ]
    paths = {cached(model, split, tmp_path, **changed)["final_avg_pool"].path for split, changed in others}
    assert len(paths) == len(others) and len(passes) == len(others) + 1


def test_one_changed_bit_of_a_weight_is_another_model():
    model = small_model()
    before = model_digest(model)
    assert before == model_digest(small_model()) and len(before) == 64
    for variable in model.named_variables().values():
        value = compat.raw_variable(variable).numpy()
        changed = value.copy()
        changed.flat[0] = np.nextafter(changed.flat[0], np.float32(9))
        variable.assign(changed)
        assert model_digest(model) != before
        variable.assign(value)
    assert model_digest(model) == before


def test_the_digest_knows_what_an_encoder_computes_without_variables():
    """The same values behind another padding or another normalisation make other features."""
    options = [
        {},
        {"pool_padding": "symmetric"},
        {"input_mean": (0.5, 0.5, 0.5), "input_std": (1.0, 1.0, 1.0)},
        {"input_mean": (0.5, 0.5, 0.4), "input_std": (1.0, 1.0, 1.0)},
        {"input_mean": (0.5, 0.5, 0.5), "input_std": (1.0, 1.0, 2.0)},
    ]
    digests = []
    for chosen in options:
        tf.keras.utils.set_random_seed(1)
        encoder = build_encoder(10, 1 / 64, **chosen)
        digests.append((chosen, model_digest(SimCLRModel(encoder)), [v.numpy() for v in encoder.variables]))
    for chosen, _, values in digests[1:]:
        for value, first in zip(values, digests[0][2], strict=True):
            np.testing.assert_array_equal(value, first, err_msg=str(chosen))
    assert len({digest for _, digest, _ in digests}) == len(options)


def test_a_checkpoint_is_known_by_its_content(source, tmp_path, passes):
    store = CheckpointStore(str(tmp_path / "run"), small_model(3).named_variables(), keep_max=1)
    store.save(7)
    paths = set()
    for place in (tmp_path / "run", tmp_path / "renamed"):
        if not place.exists():
            (tmp_path / "run").rename(place)
        model = small_model(0)
        checkpoints.read_into(str(place / "ckpt-7"), model.named_variables())
        paths.add(cached(model, source, tmp_path / "cache")["final_avg_pool"].path)
    assert len(paths) == len(passes) == 1


def test_a_compute_dtype_is_part_of_the_key(tmp_path):
    keys = []
    for dtype in ("float32", "mixed_bfloat16"):
        inputs = tf.keras.Input((None, None, 3), name="images")
        maps = conv(inputs, 2, 1, 1, "stem_conv", BlockStyle(norm=BatchNorm, dtype=dtype))
        model = SimCLRModel(tf.keras.Model(inputs, {"final_avg_pool": maps}, name="encoder"))
        keys.append(cached(model, shapes_source("train[:2]", side=2), tmp_path, image_size=2)["final_avg_pool"].path)
    stored = [json.loads(pathlib.Path(path, "manifest.json").read_text())["key"]["compute_dtype"] for path in keys]
    assert stored == ["float32", "bfloat16"]


def test_the_manifest_is_for_people(model, source, tmp_path):
    path = cached(model, source, tmp_path, data_seed=5)["final_avg_pool"].path
    manifest = json.loads(pathlib.Path(path, "manifest.json").read_text())
    assert manifest["key"] == {
        "model": model_digest(model),
        "compute_dtype": "float32",
        "dataset": "shapes",
        "split": "train[:22]",
        "num_examples": 22,
        "location": "",
        "fingerprint": source.fingerprint,
        "reading": "",
        "data_seed": 5,
        "image_size": 8,
        "eval_crop": 1.0,
        "endpoint": "final_avg_pool",
    }
    assert manifest["written_by"]["tensorflow"] == tf.__version__
    assert FeatureKey(**manifest["key"]).name == pathlib.Path(path).name


# ---- Never trusted ----


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def edit(path, change):
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


DAMAGES = {
    "a flipped bit of a feature": (lambda p: flip(p / "features.npy", -7), "features.npy is damaged"),
    "a flipped bit of a header": (lambda p: flip(p / "features.npy", 0), "features.npy is damaged"),
    "a flipped bit of a label": (lambda p: flip(p / "labels.npy", -8), "labels.npy is damaged"),
    "cut off": (lambda p: os.truncate(p / "features.npy", 300), "has 300 bytes in place of"),
    "empty": (lambda p: (p / "labels.npy").write_bytes(b""), "has 0 bytes in place of"),
    "gone": (lambda p: (p / "labels.npy").unlink(), "labels.npy cannot be read"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "no readable manifest.json"),
    "half a manifest": (lambda p: os.truncate(p / "manifest.json", 100), "no readable manifest.json"),
    "no object": (lambda p: (p / "manifest.json").write_text("[]"), "another format"),
    "an older format": (lambda p: edit(p / "manifest.json", lambda m: m.update(format=0)), "another format than 2"),
    "no key": (lambda p: edit(p / "manifest.json", lambda m: m.pop("key")), "belong to something else"),
    "no digests": (lambda p: edit(p / "manifest.json", lambda m: m.update(files=[])), "in place of None"),
    "another size": (
        lambda p: edit(p / "manifest.json", lambda m: m["key"].update(image_size=99)),
        "something else (image_size 99 there, 8 here)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_computed_again(model, source, tmp_path, passes, damage):
    spoil, message = DAMAGES[damage]
    first = cached(model, source, tmp_path)["final_avg_pool"]
    wanted = np.array(first.features)
    spoil(pathlib.Path(first.path))
    say = Lines()
    again = cached(model, source, tmp_path, say=say)["final_avg_pool"]
    assert len(passes) == 2 and again.path == first.path
    np.testing.assert_array_equal(again.features, wanted)
    assert len(say) == 2 and message in say[0] and "computing it again" in say[0]
    cached(model, source, tmp_path, say=say)
    assert len(passes) == 2 and len(say) == 2


KILLED = """
import os, sys
import numpy as np
from tf_simclr.evaluate.features import cached_features, model_digest
from tf_simclr.evaluate.feature_store import FeatureKey, written_features
key = FeatureKey(**eval(sys.argv[2]))
with written_features(sys.argv[1], key) as write:
    write(np.arange(2), np.ones([2, 3], np.float32), np.zeros(2, np.int64))
    os._exit(9)
"""


def test_a_killed_run_leaves_nothing_that_is_trusted(model, source, tmp_path, passes):
    known = cached(model, source, tmp_path / "whole")["final_avg_pool"]
    text = repr(json.loads((pathlib.Path(known.path) / "manifest.json").read_text())["key"])
    tmp_path /= "killed"
    root = pathlib.Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), text], cwd=root, check=False)
    assert killed.returncode == 9
    (partial,) = tmp_path.iterdir()
    assert partial.name.endswith(".partial") and (partial / "features.npy").exists()
    say = Lines()
    found = cached(model, source, tmp_path, say=say)["final_avg_pool"]
    assert "left half-written by a run that was stopped" in say[0] and len(passes) == 2
    assert found.features.shape == (COUNT, 6)
    assert [path.name for path in tmp_path.iterdir()] == [pathlib.Path(known.path).name]


def test_an_error_on_the_way_leaves_nothing(model, source, tmp_path):
    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(model, source, tmp_path, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


KEY = FeatureKey("m", "float32", "d", "train", 2, "", "", "", 0, 8, 1.0, "h")
ROWS = np.arange(2), np.ones([2, 3], np.float32), np.zeros(2, np.int64)


@pytest.mark.skipif(os.name != "posix", reason="processes can only be asked on POSIX systems")
def test_what_another_process_is_writing_stays(tmp_path):
    with written_features(str(tmp_path), KEY) as write:
        write(*ROWS)
        (own,) = tmp_path.iterdir()
        other = own.with_name(own.name.replace(str(os.getpid()), str(os.getppid())))
        elsewhere = own.with_name(own.name.replace(str(os.getpid()), "another-host.1"))
        other.mkdir(), elsewhere.mkdir()
    open_features(str(tmp_path), KEY)
    assert other.exists() and elsewhere.exists()


@pytest.mark.parametrize("intact", [True, False])
def test_another_process_was_ready_first(tmp_path, intact):
    with written_features(str(tmp_path / "other"), KEY) as write:
        write(*ROWS)
    place = tmp_path / KEY.name
    with written_features(str(tmp_path), KEY) as write:
        write(*ROWS)
        (tmp_path / "other" / KEY.name).rename(place)
        if not intact:
            flip(place / "features.npy", -1)
        number = place.stat().st_ino
    assert (place.stat().st_ino == number) == intact  # an intact one stays: it may be open there
    np.testing.assert_array_equal(open_features(str(tmp_path), KEY).features, ROWS[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([KEY.name, "other"])


def test_another_process_was_ready_at_the_same_moment(tmp_path, monkeypatch):
    with written_features(str(tmp_path / "other"), KEY) as write:
        write(*ROWS)
    rename = pathlib.Path.rename

    def outrun(path, target):
        rename(tmp_path / "other" / KEY.name, target)
        return rename(path, target)

    with written_features(str(tmp_path), KEY) as write:
        write(*ROWS)
        monkeypatch.setattr(pathlib.Path, "rename", outrun)
    np.testing.assert_array_equal(open_features(str(tmp_path), KEY).features, ROWS[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([KEY.name, "other"])


# ---- Bad input ----


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"endpoints": ["pool5"]}, "`endpoint` must be one of: block_group1, final_avg_pool, proj_head_input"),
        ({"endpoints": []}, "at least one"),
        ({"endpoints": "final_avg_pool"}, "a list of different names"),
        ({"endpoints": ["final_avg_pool"] * 2}, "a list of different names"),
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"image_size": 0}, "`image_size` must be >= 1"),
        ({"directory": "gs://bucket/cache"}, "must be on a local disk.*gs://bucket/cache"),
    ],
)
def test_bad_input_teaches(model, source, tmp_path, changed, message):
    changed = {"directory": tmp_path} | changed
    with pytest.raises(InputError, match=message) as caught:
        cached(model, source, **changed)
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_divide(model, source, tmp_path, mirrored):
    with pytest.raises(InputError, match="multiple of the 2 replicas"):
        cached(model, source, tmp_path, strategy=mirrored(2), batch_size=5)


def test_a_directory_that_cannot_be_made(model, source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"cannot be written .*Make room there, or pass another directory"):
        cached(model, source, tmp_path / "file" / "cache")


def test_an_unknown_endpoint_in_memory(model, source):
    with pytest.raises(InputError, match="`endpoint` must be one of: block_group1"):
        extracted(model, source, EvalLoader(ONE_DEVICE, BATCH, SIDE), ["pool5"])


@pytest.mark.parametrize("said", [COUNT - 2, COUNT + 2])
def test_a_split_with_another_number_of_images_than_it_says(model, source, tmp_path, said):
    wrong = dataclasses.replace(source, num_examples=said)
    with pytest.raises(InputError, match="as many images as it says"):
        cached(model, wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="as many images as it says"):
        extracted(model, wrong, EvalLoader(ONE_DEVICE, BATCH, SIDE))


def test_endpoints_that_a_model_has(model):
    assert set(ALL) < set(endpoint_names(model))
    assert endpoint_names(SimCLRModel(model.encoder)) == ("block_group1", "final_avg_pool")
    with_input = model.endpoints(tf.zeros([1, SIDE, SIDE, 3]), training=False)
    assert set(endpoint_names(model)) == set(with_input)
