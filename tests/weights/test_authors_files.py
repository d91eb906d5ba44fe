"""The authors' checkpoints and SavedModels: every value finds its place, and every endpoint is theirs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.weights.foreign_files import (
    Forward,
    Spec,
    tf1_values,
    tf2_paths,
    write_tf1,
    write_tf2,
    write_tf2_saved_model,
)
from tests.weights.same import images
from tf_simclr import compat
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.nn.resnet import BLOCKS_PER_GROUP
from tf_simclr.train import checkpoints
from tf_simclr.train.build import build_networks
from tf_simclr.weights.inference import infer_network
from tf_simclr.weights.naming import counted_layers
from tf_simclr.weights.network import Network
from tf_simclr.weights.tables import authors_tf2

NETWORKS = [
    Spec(18, width=8, cifar=True, head=2),
    Spec(18, width=8, se=0.25, selector=-1, head=2),
    Spec(50, width=4, head=3),
    Spec(50, width=8, sk=0.0625, se=0.0625, head=1),
    Spec(50, width=4, sk=0.5, cifar=True, head=0, classes=0),
]


def assert_same_bits(model, values):
    """No two values are alike, so that equal sets of them are equal variables once the endpoints are equal."""
    loaded = [np.asarray(compat.raw_variable(v)) for v in model.named_variables().values()]
    assert sorted(v.tobytes() for v in loaded) == sorted(v.tobytes() for v in values.values())


def assert_same_endpoints(model, values, spec):
    batch = images(32 if spec.cifar else 33)
    expected = Forward(values, spec)(batch)
    found = model.endpoints(batch, training=False)
    for name, value in expected.items():
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(found[name] / scale, value / scale, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: f"{spec.depth}-{spec.sk:g}-{spec.se:g}")
def test_a_tensorflow_1_checkpoint(spec, tmp_path):
    values = write_tf1(tmp_path / "model.ckpt-225206", spec)
    trained = load_trained(str(tmp_path))
    assert_same_bits(trained.model, values)
    assert_same_endpoints(trained.model, values, spec)


@pytest.mark.parametrize("spec", NETWORKS[1::2], ids=lambda spec: f"{spec.depth}-{spec.sk:g}-{spec.se:g}")
def test_a_tensorflow_2_checkpoint(spec, tmp_path):
    values = write_tf2(tmp_path / "ckpt-7", spec)
    trained = load_trained(str(tmp_path))
    assert_same_bits(trained.model, values)
    assert_same_endpoints(trained.model, values, spec)


@pytest.mark.parametrize("frozen", [0, 9])
def test_a_saved_model_whatever_was_frozen(frozen, tmp_path):
    spec = Spec(50, width=4, sk=0.0625, head=2)
    values = write_tf2_saved_model(tmp_path / "saved_model", spec, frozen=frozen)
    trained = load_trained(str(tmp_path))
    assert_same_bits(trained.model, values)
    assert_same_endpoints(trained.model, values, spec)


def test_moving_averages_are_taken_when_asked_for(tmp_path):
    spec = Spec(18, width=4)
    averages = write_tf1(tmp_path / "model.ckpt-1", spec, ema=True)
    prefix = checkpoints.resolve(str(tmp_path))
    for ema, expected in ((True, averages), (False, tf1_values(spec))):
        value = checkpoints.foreign_at(prefix, ema=ema).read("encoder/stem_conv/kernel")
        np.testing.assert_array_equal(value, expected["base_model/conv2d/kernel"])


def test_moving_averages_that_are_not_there(tmp_path):
    write_tf1(tmp_path / "model.ckpt-1", Spec(18, width=4))
    with pytest.raises(InputError, match="`ema` must be False"):
        checkpoints.foreign_at(checkpoints.resolve(str(tmp_path)), ema=True)


COUNTS = {18: (21, 21), 34: (37, 37), 50: (53, 53), 101: (104, 104), 152: (155, 155), 200: (203, 203)}
COUNTS_SK = {50: (87, 71), 101: (172, 139), 152: (257, 207), 200: (337, 271)}
WHOLE = [(depth, 64, 0.0, counts) for depth, counts in COUNTS.items()]
WHOLE += [(depth, 128, 0.0625, counts) for depth, counts in COUNTS_SK.items()] + [(152, 192, 0.0625, COUNTS_SK[152])]


@pytest.mark.parametrize(("depth", "width", "sk", "counts"), WHOLE)
def test_names_and_shapes_of_whole_networks(depth, width, sk, counts):
    """Of ResNet-152 3x with SK too, whose values would not fit here."""
    spec = Spec(depth, width, sk, shapes_only=True, classes=1000, dim=128)
    shapes = {name: value.shape for name, value in tf1_values(spec).items()}
    layers = counted_layers(shapes)
    assert tuple(sum(word in name for name in layers) for word in ("conv2d", "batch_norm")) == counts
    network = Network(depth, width / 64, sk, head_layers=3, head_dim=128, classes=1000)
    ours = {path: shape for path, shape in network.shapes().items() if path.startswith("encoder/")}
    renamed = {
        f"{layers[layer]}/{leaf}": shape
        for name, shape in shapes.items()
        for layer, _, leaf in [name.rpartition("/")]
        if layer in layers
    }
    assert renamed == ours
    assert infer_network(network.shapes(), "here") == network

    table = authors_tf2.layers(resnet_d=sk > 0)
    by_path = {}
    for path, name in tf2_paths(spec).items():
        layer, _, leaf = path.rpartition("/")
        by_path[f"{table[layer]}/{leaf}"] = shapes[name]
    assert by_path == network.shapes()


@pytest.mark.parametrize("width", [0.0625, 0.1, 0.3, 0.7, 1.0, 1.5, 3.0, 4.0])
@pytest.mark.parametrize(("sk", "se"), [(0.0, 0.0), (0.0625, 0.0), (0.5, 0.25), (0.0, 0.0625), (0.1, 0.3)])
def test_width_and_ratios_come_back_from_shapes(width, sk, se):
    shapes = Network(50, width, sk, se, head_layers=2).shapes()
    assert infer_network(shapes, "here").shapes() == shapes


@pytest.mark.parametrize(
    "network",
    [
        Network(18, 0.25, se_ratio=0.25, stem="cifar", identity_shortcut=True, head_layers=1, head_dim=7, classes=3),
        Network(50, 0.0625, sk_ratio=0.0625, head_layers=2, classes=4, selector=2),
        Network(34, 0.125, stem="imagenet"),
    ],
    ids=lambda network: str(network.depth),
)
def test_the_description_is_of_what_is_built(network):
    config = build_config({"image_size": 64, **network.flags()})
    built = build_networks(config, network.classes).named_variables()
    assert {path: tuple(v.shape) for path, v in built.items()} == network.shapes()


def test_depths_are_all_known():
    assert [10, *COUNTS] == list(BLOCKS_PER_GROUP)  # the authors have no ResNet-10


def test_a_hidden_layer_as_input_must_be_said(tmp_path):
    spec = Spec(18, width=4, head=3, selector=1)
    values = write_tf1(tmp_path / "model.ckpt-3", spec)
    foreign = checkpoints.foreign_at(checkpoints.resolve(str(tmp_path)))
    assert any("--ft_proj_selector=0" in line for line in foreign.describe())
    network = foreign.with_selector(1).network
    model = build_networks(build_config({"image_size": 32, **network.flags(), "stem": "imagenet"}), 5)
    checkpoints.read_into(
        str(tmp_path / "model.ckpt-3"), {p: compat.raw_variable(v) for p, v in model.named_variables().items()}
    )
    assert_same_endpoints(model, values, spec)
    with pytest.raises(InputError, match="ft_proj_selector"):
        foreign.with_selector(4)


NAME = "base_model/conv2d_3/kernel"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": [NAME]}, r"encoder/block_group1_block0_conv2/kernel has no partner there"),
        (
            {"extra": {"base_model/conv2d_30/kernel": np.zeros([3, 3, 4, 4], np.float32)}},
            "conv2d_30/kernel has no partner",
        ),
        ({"extra": {"head_other/bias": np.zeros([4], np.float32)}}, "head_other/bias has no partner"),
        (
            {"extra": {NAME: np.zeros([3, 3, 4, 5], np.float32)}},
            r"conv2d_3/kernel is \[3, 3, 4, 5\] and must be",
        ),
    ],
)
def test_a_variable_without_a_partner_is_named(options, message, tmp_path):
    write_tf1(tmp_path / "model.ckpt-3", Spec(18, width=4), **options)
    with pytest.raises(InputError, match=message) as error:
        load_trained(str(tmp_path))
    assert "\n" not in str(error.value)


def test_other_checkpoints_are_refused(tmp_path):
    tf.train.Checkpoint(other=tf.Variable([1.0])).write(str(tmp_path / "model"))
    with pytest.raises(InputError, match=r"written by this program, the authors', or PyTorch.*other names"):
        load_trained(str(tmp_path / "model"))


def test_a_damaged_checkpoint_is_refused(tmp_path):
    write_tf1(tmp_path / "model.ckpt-3", Spec(18, width=4))
    data = next(tmp_path.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        load_trained(str(tmp_path))


def test_a_hub_module_is_refused(tmp_path):
    for name in ("tfhub_module.pb", "saved_model.pb"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="TensorFlow Hub's first format"):
        load_trained(str(tmp_path))


def test_a_directory_with_a_name_like_a_pattern(tmp_path):
    place = tmp_path / "a[1]*"
    place.mkdir()
    values = write_tf1(tmp_path / "model.ckpt-3", Spec(18, width=4))
    for file in tmp_path.glob("model*"):
        file.rename(place / file.name)
    read = checkpoints.read_values(checkpoints.resolve(str(place)), ["encoder/stem_conv/kernel"])
    np.testing.assert_array_equal(read["encoder/stem_conv/kernel"], values["base_model/conv2d/kernel"])


def test_a_spec_has_values_that_differ():
    values = tf1_values(dataclasses.replace(NETWORKS[0]))
    assert len({v.tobytes() for v in values.values()}) == len(values)
