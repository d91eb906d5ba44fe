"""State dicts under the names of torchvision, lightly and solo-learn, as .safetensors and as files of torch.save."""

from __future__ import annotations

import numpy as np
import pytest

from tests.weights.foreign_files import Drawer, Spec, torchvision_h, torchvision_values
from tests.weights.same import assert_same_as_torchvision, images
from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.evaluate.load import load_trained
from tf_simclr.train import checkpoints
from tf_simclr.weights.network import Network
from tf_simclr.weights.tables import pytorch

safetensors_numpy = pytest.importorskip("safetensors.numpy")
CHILDREN = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}


def write(path, values):
    safetensors_numpy.save_file({name: np.ascontiguousarray(value) for name, value in values.items()}, str(path))
    return str(path)


def without_classifier(values, start=""):
    return {f"{start}{name}": value for name, value in values.items() if not name.startswith("fc.")}


def as_children(values, start, children):
    """The names inside a Sequential of the children of a ResNet."""
    parts = {name: name.partition(".") for name in values if not name.startswith("fc.")}
    return {f"{start}{children[first]}.{rest}": values[name] for name, (first, _, rest) in parts.items()}


def renamed(values, old, new):
    """The values whose names begin with `old`, under names that begin with `new`."""
    return {name.replace(old, new): value for name, value in values.items() if name.startswith(old)}


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_torchvision_at_even_and_odd_sizes(depth, tmp_path):
    spec = Spec(depth, width=8)
    values = torchvision_values(spec)
    place = write(tmp_path / "model.safetensors", values)
    for size in (64, 65):
        trained = assert_same_as_torchvision(place, values, spec, size)
    model = trained.config.model
    assert (model.resnet_depth, model.width_multiplier, model.pool_padding) == (depth, 0.125, "symmetric")
    assert model.identity_shortcut == (depth < 50) and model.input_mean == "0.485,0.456,0.406"
    for path, name in checkpoints.foreign_at(place).naming.names.items():
        ours = np.asarray(compat.raw_variable(trained.model.named_variables()[path]))
        ours = ours.transpose(3, 2, 0, 1) if ours.ndim == 4 else ours.T
        np.testing.assert_array_equal(ours, values[name], err_msg=path)


def projection_head(draw, features, offset):
    values = {
        "projection_head.layers.0.weight": draw.kernel(features, features).T,
        "projection_head.layers.3.weight": draw.kernel(features, 16).T,
    }
    leaves = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for place, channels in ((1, features), (4, 16)):
        norm = draw.norm(channels, offset=place == 1 or offset)
        values |= {f"projection_head.layers.{place}.{leaves[leaf]}": value for leaf, value in norm.items()}
    return values


def of_hugging_face(values, start):
    """The names of the package transformers, which counts groups and layers of a block from 0."""
    kinds = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    found = {}
    for name, value in values.items():
        *layer, leaf = name.split(".")
        if layer[0] == "fc":
            found[f"classifier.1.{leaf}"] = value
        elif len(layer) == 1:
            found[f"{start}embedder.embedder.{kinds[layer[0][:-1]]}.{leaf}"] = value
        else:
            place = f"{start}encoder.stages.{int(layer[0][-1]) - 1}.layers.{layer[1]}"
            last = layer[2]
            unit = (
                f"shortcut.{kinds[layer[3]]}"
                if last == "downsample"
                else f"layer.{int(last[-1]) - 1}.{kinds[last[:-1]]}"
            )
            found[f"{place}.{unit}.{leaf}"] = value
    return found


def namings(spec, values):
    """Every way to write the same network, and what must be said to be left out."""
    draw = Drawer(spec)
    backbone = without_classifier(values, "backbone.")
    own = {name.replace("downsample", "shortcut"): value for name, value in without_classifier(values).items()}
    head = projection_head(draw, spec.features, offset=True)
    memory = {"criterion.memory_bank.bank": np.zeros(3, np.float32)}
    projector = {"projector.0.weight": draw.kernel(8, 8), "projector.0.bias": draw.uniform(0, 1, 8)}
    of_lightly = {name: place for place, name in pytorch.SEQUENTIAL_OF_LIGHTLY.items()}
    averages = {name: value + np.float32(1) for name, value in values.items() if name.partition(".")[0] != "fc"}
    in_place_of_fc = {f"fc.{layer}.{leaf}": draw.kernel(8, 8) for layer in (0, 2) for leaf in ("weight", "bias")}
    return {
        "torchvision": values,
        "distributed": {f"module.{name}": value for name, value in values.items()},
        "lightly benchmarks": {**backbone, **head, **renamed(values, "fc.", "online_classifier."), **memory},
        "lightly examples": as_children(values, "backbone.", CHILDREN),
        "lightly's own": own,
        "lightly's own as children": as_children(own, "backbone.", of_lightly) if "fc.weight" not in own else {},
        "solo-learn": {
            **backbone,
            **projector,
            **{n.replace("fc.", "classifier."): v for n, v in values.items() if "fc." in n},
        },
        "solo-learn of old": {**without_classifier(values, "encoder."), **projector},
        "MoCo": {
            **{f"module.encoder_k.{name}": value for name, value in {**averages, **in_place_of_fc}.items()},
            **{f"module.encoder_q.{n}": v for n, v in {**without_classifier(values), **in_place_of_fc}.items()},
            "module.queue": draw.kernel(8, 3),
        },
        "BYOL": {
            **{f"online_network.{name}": value for name, value in values.items()},
            **{f"target_network.{name}": value for name, value in averages.items()},
        },
        "momentum of solo-learn": {**backbone, **{f"momentum_backbone.{n}": v for n, v in averages.items()}},
        "momentum of lightly": {**backbone, **{f"backbone_momentum.{n}": v for n, v in averages.items()}},
        "a projection head with offsets": {
            **backbone,
            **{
                f"projection_head.layers.{place}.{leaf}": draw.kernel(8, 8)
                for place in (0, 2)
                for leaf in ("weight", "bias")
            },
        },
        "Hugging Face": of_hugging_face(values, "resnet."),
        "Hugging Face without a head": of_hugging_face(without_classifier(values), ""),
        "both wrapped": {f"module.backbone.{name}": value for name, value in values.items()},
    }


NAMINGS = list(namings(Spec(18, width=4), torchvision_values(Spec(18, width=4))))


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming(naming, tmp_path):
    spec = Spec(18, width=4)
    values = torchvision_values(spec)
    stored = namings(spec, values)[naming]
    place = write(tmp_path / "m.safetensors", stored)
    classifiers = ("fc.weight", "linear.weight", "classifier.weight", "classifier.1.weight")
    has_classifier = any(name.endswith(classifiers) for name in stored)
    expected = values if has_classifier else without_classifier(values)
    assert_same_as_torchvision(place, expected, spec, 32)
    left_out = [line for line in checkpoints.foreign_at(place).describe() if line.startswith("left out")]
    assert bool(left_out) == any(word in naming for word in ("solo", "MoCo", "BYOL", "momentum", "offsets"))


@pytest.mark.parametrize("depth", [18, 50])
def test_the_cifar_stem(depth, tmp_path):
    spec = Spec(depth, width=4, cifar=True)
    values = torchvision_values(spec)
    trained = assert_same_as_torchvision(write(tmp_path / "m.safetensors", values), values, spec, 32)
    assert trained.config.model.stem == "cifar" and trained.config.data.image_size == 32


@pytest.mark.parametrize("offset", [True, False])
def test_a_projection_head_of_lightly(offset, tmp_path):
    spec = Spec(18, width=4, cifar=True, classes=0)
    values = torchvision_values(spec)
    head = projection_head(Drawer(spec), spec.features, offset)
    place = write(tmp_path / "m.safetensors", {**without_classifier(values, "backbone."), **head})
    found = load_trained(place).model.endpoints(images(32), training=False)
    x, _ = torchvision_h(values, spec, images(32))
    for number in (0, 3):
        x = x @ head[f"projection_head.layers.{number}.weight"].T
        norm = {leaf: head.get(f"projection_head.layers.{number + 1}.{leaf}", 0) for leaf in pytorch.LEAVES_OF_NORM}
        x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
        x = np.maximum(x, 0) if number == 0 else x
    np.testing.assert_allclose(found["proj_head_output"], x, atol=1e-5)


def test_a_narrower_projection_head_is_left_out_and_said_so(tmp_path):
    spec = Spec(18, width=4, cifar=True, classes=0)
    values, draw = without_classifier(torchvision_values(spec), "backbone."), Drawer(spec)
    head = {
        "projection_head.layers.0.weight": draw.kernel(32, 8).T,
        "projection_head.layers.3.weight": draw.kernel(8, 4).T,
    }
    foreign = checkpoints.foreign_at(write(tmp_path / "m.safetensors", {**values, **head}))
    assert "not as wide as h" in foreign.describe()[-1] and foreign.network.head_layers == 0


def test_the_stem_of_solo_learn_for_cifar_is_refused(tmp_path):
    values = torchvision_values(Spec(18, width=4, cifar=True))
    stored = {**without_classifier(values, "backbone."), "classifier.weight": values["fc.weight"]}
    with pytest.raises(InputError, match=r"stem that pads by 1.*solo-learn"):
        load_trained(write(tmp_path / "m.safetensors", stored))


def changed(changes):
    """A whole network with some tensors in place of its own; None takes one away."""
    values = {**torchvision_values(Spec(18, width=4)), **changes}
    return {name: value for name, value in values.items() if value is not None}


KERNEL = "layer2.1.conv2.weight"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cls_token": np.zeros(3), "blocks.0.attn.qkv.weight": np.zeros([3, 3])}, "which is a transformer"),
        ({"features.0.weight": np.zeros([3, 3])}, "which is no ResNet"),
        (changed({KERNEL: None}), "block_group2_block1_conv2/kernel has no partner there"),
        (changed({"layer2.7.conv9.weight": np.zeros(3)}), r"layer2\.7\.conv9\.weight has no partner here"),
        (
            changed({KERNEL: np.zeros([8, 4, 3, 3], np.float32)}),
            r"conv2\.weight is \[8, 4, 3, 3\] and must be \[8, 8, 3, 3\]",
        ),
        (changed({"layer4.2.conv1.weight": np.zeros([8, 8, 3, 3], np.float32)}), "2, 2, 2, 3 basic blocks"),
        (changed({"layer4.0.conv1.weight": np.zeros([9, 8, 3, 3], np.float32)}), "no multiplier gives"),
    ],
)
def test_what_is_no_such_network_is_refused(values, message, tmp_path):
    place = write(tmp_path / "m.safetensors", values)
    with pytest.raises(InputError, match=message) as error:
        load_trained(place)
    assert "\n" not in str(error.value) and "Received:" in str(error.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    write(path, torchvision_values(Spec(18, width=4)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        load_trained(str(path))


def test_a_folder_with_one_file_is_that_file(tmp_path):
    place = write(tmp_path / "model.safetensors", torchvision_values(Spec(18, width=4)))
    assert checkpoints.resolve(str(tmp_path)) == place
    write(tmp_path / "other.safetensors", {})
    with pytest.raises(InputError, match="must name one file"):
        checkpoints.resolve(str(tmp_path))


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_a_file_of_keras_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"a file of Keras\. .* take torchvision's"):
        load_trained(str(tmp_path / name))


def test_bottlenecks_of_hugging_face(tmp_path):
    spec = Spec(50, width=4)
    values = torchvision_values(spec)
    stored = of_hugging_face(values, "resnet.")
    assert_same_as_torchvision(write(tmp_path / "m.safetensors", stored), values, spec, 33)


def test_what_was_assumed_is_said(tmp_path):
    lines = checkpoints.foreign_at(write(tmp_path / "m.safetensors", torchvision_values(Spec(18, width=4)))).describe()
    assert any("--image_size=224" in line and "--input_mean=0.485" in line for line in lines)
    assert Network(18, 0.0625, classes=5).describe() in lines[0].replace("identity", "")
