"""Dry runs: what they count is what other ways of counting find, and they leave nothing behind."""

from __future__ import annotations

import functools
import math
import os

import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

import tf_simclr
from tests.data.folders import class_folders, make_images
from tf_simclr import compat
from tf_simclr.cli import dry_run, flags
from tf_simclr.cli.completion import ALL_FLAG_GROUPS
from tf_simclr.cli.dry_run_graph import flops_of, parameters_of, trace_step
from tf_simclr.cli.dry_run_memory import memory_of
from tf_simclr.cli.main import main
from tf_simclr.config import Durations, build_config, resolve_durations
from tf_simclr.data.published_sizes import published_split
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_networks, build_train_state

# No images of it are here, and none are needed.
SMALL = {
    "dataset": "imagenet2012",
    "image_size": 32,
    "stem": "imagenet",
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 16,
    "use_blur": False,
}
SMALL_WORDS = [f"--{name}={value}" for name, value in SMALL.items()]
# Without the online head, whose own images count as well.
PLAIN = {"lineareval_while_pretraining": False}
LENGTHS = Durations(10, 1, 10, 10)


def config_of(**values):
    return build_config(SMALL | values)


@functools.cache
def traced(**values):
    """The costs of a step; steps that are alike are traced once."""
    return trace_step(config_of(**values), 10)


def networks_of(config, num_classes):
    """The networks, with shapes alone: no variable gets a value."""
    with compat.graph_without_values():
        return build_networks(config, num_classes)


# ---- FLOPs, by two other ways ----


@pytest.mark.parametrize(
    "others", [{}, {"sk_ratio": 0.0625, "resnet_depth": 50, "se_ratio": 0.25}], ids=["plain", "sk"]
)
def test_flops_of_a_forward_pass_are_the_profilers_and_those_of_a_formula(others):
    config = config_of(**others)
    with compat.graph_without_values() as graph:
        model = build_networks(config, 0)
        before = len(graph.get_operations())
        images = tf.compat.v1.placeholder(tf.float32, [3, 32, 32, 3])
        model.endpoints(images, training=True)
    operations = graph.get_operations()[before:]
    counted = sum(map(flops_of, operations)) / 3
    kinds = ("Conv2D", "MatMul")
    # TensorFlow's own count, in the registry that tf.profiler reads.
    by_profiler = [ops.get_stats_for_node_def(graph, o.node_def, "flops").value for o in operations if o.type in kinds]
    assert counted == sum(by_profiler) / 3
    if not others:
        assert counted == flops_by_hand(build_networks(config, 0), 32)
        assert traced(**PLAIN).forward_flops == counted


def flops_by_hand(model, side):
    """Of one image: 2 x outputs x kernel height x width x input channels of each layer with a kernel."""
    encoder, shapes = model.encoder, shapes_of(model.encoder, side)
    total = 0
    for layer in encoder.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            total += 2 * math.prod(shapes[layer.name][1:]) * math.prod(layer.kernel.shape[:3])
    dense = [layer for layer in model.projection_head.layers if isinstance(layer, tf.keras.layers.Dense)]
    return total + sum(2 * math.prod(layer.kernel.shape) for layer in dense)


def shapes_of(encoder, side):
    """The shape of each layer's output for one image, by the layer's name."""
    whole = tf.keras.Model(encoder.inputs, [layer.output for layer in encoder.layers])
    outputs = whole(tf.zeros([1, side, side, 3]))
    return {layer.name: tuple(output.shape) for layer, output in zip(encoder.layers, outputs, strict=True)}


def test_gradients_have_the_products_of_their_convolution():
    with tf.Graph().as_default() as graph:
        images, kernel = (tf.compat.v1.placeholder(tf.float32, shape) for shape in ([2, 8, 8, 3], [3, 3, 3, 5]))
        tf.gradients(tf.nn.conv2d(images, kernel, 2, "SAME"), [images, kernel])
        tf.linalg.matmul(tf.zeros([7, 4]), tf.zeros([7, 6]), transpose_a=True)
    counts = {o.type: flops_of(o) for o in graph.get_operations() if flops_of(o)}
    products = 2 * 4 * 4 * 5 * 3 * 3 * 3
    assert counts == {
        "Conv2D": 2 * products,
        "Conv2DBackpropInput": 2 * products,
        "Conv2DBackpropFilter": 2 * products,
        "MatMul": 2 * 4 * 6 * 7,
    }


def test_a_step_runs_the_network_three_times_and_what_is_frozen_once():
    whole = traced(**PLAIN)
    similarities = 3 * 2 * (2 * 512) ** 2 * 16 / 512
    stem = 2 * 16 * 16 * 4 * 7 * 7 * 3  # no gradient of the images is needed
    assert whole.step_flops == pytest.approx(2 * (3 * whole.forward_flops - stem) + similarities)
    frozen = traced(train_mode="finetune", fine_tune_after_block=4)
    head = 2 * 32 * 10
    assert frozen.step_flops == pytest.approx(frozen.forward_flops + head) and frozen.trained == 32 * 10 + 10
    assert frozen.forward_flops - head == pytest.approx(whole.forward_flops - 2 * (32 * 32 + 32 * 16))
    twice = traced(**PLAIN, micro_batch_size=64)
    assert twice.step_flops == pytest.approx(whole.step_flops + 2 * whole.forward_flops)
    remembers = traced(**PLAIN, memory_size=1024)
    more_similarities = 3 * 2 * 2 * 1024 * 16
    assert remembers.step_flops == pytest.approx(twice.step_flops + more_similarities)


def test_networks_that_were_built_before_still_work():
    config, images = config_of(), tf.ones([2, 32, 32, 3])
    model = build_networks(config, 10)
    before = model.endpoints(images, training=False)["logits_sup"].numpy()
    networks_of(config, 10)
    assert (model.endpoints(images, training=False)["logits_sup"].numpy() == before).all()
    assert build_networks(config, 10).endpoints(images, training=True)["logits_sup"].shape == (2, 10)


# ---- Memory ----


def test_weights_gradients_and_slots_are_those_of_a_real_state():
    config = config_of(optimizer="adam")
    costs, state = trace_step(config, 10), build_train_state(config, LENGTHS, 10)
    sizes = {path: 4 * math.prod(v.shape) for path, v in state.model.named_variables().items()}
    assert costs.weight_bytes == sum(sizes.values())
    assert costs.gradient_bytes == 4 * costs.trained == sum(4 * math.prod(v.shape) for v in state.trained)
    own = sum(
        math.prod(v.shape) * tf.as_dtype(v.dtype).size
        for path, v in state.named_state().items()
        if path.startswith(("optimizer/", "online_head/"))
    )
    assert costs.slot_bytes == own > 2 * costs.gradient_bytes
    assert costs.total_parameters + costs.statistics == costs.weight_bytes // 4


def test_what_is_kept_is_what_the_gradients_of_the_layers_need():
    costs, model = traced(**PLAIN), build_networks(config_of(**PLAIN), 0)
    half = traced(**PLAIN, precision="bfloat16")
    kept = kept_by_hand(model.encoder, 32)
    # The head keeps some vectors, and the loss a few of 16 numbers.
    assert 2 * kept * 4 < costs.kept_bytes < 2 * (kept + 20 * 32) * 4
    assert 2 * kept * 2 < half.kept_bytes < 2 * (kept + 40 * 32) * 2
    # The gradient of the images is not needed, and so the stem's kernel is not.
    stem = math.prod(model.encoder.get_layer("stem_conv").kernel.shape)
    assert costs.copied_bytes == 0 and half.copied_bytes == 2 * (weights_of_layers(model) - stem)


def kept_by_hand(encoder, side):
    """Numbers of one view: the inputs of convolutions and of norms, and what ReLU and the pool gave; each once."""
    kept, shapes = {}, shapes_of(encoder, side)
    makers = {id(layer.output): layer.name for layer in encoder.layers}
    for layer in encoder.layers:
        kind = type(layer).__name__
        names = []
        if kind in ("Conv2D", "BatchNorm", "MaxPooling2D"):
            names.append(makers[id(layer.input)])
        if kind in ("Activation", "MaxPooling2D"):
            names.append(layer.name)
        kept |= {name: math.prod(shapes[name][1:]) for name in names}
    return sum(kept.values())


def weights_of_layers(model):
    """Parameters of the kernels that layers cast to their own type."""
    layers = (*model.encoder.layers, *model.projection_head.layers)
    return sum(math.prod(x.kernel.shape) for x in layers if hasattr(x, "kernel"))


def test_memory_is_shared_by_replicas_and_bounded_by_micro_batches():
    config, costs = config_of(train_batch_size=64), traced(**PLAIN)
    one, four, small = (memory_of(config, costs, *words) for words in ((1,), (4,), (1, 16)))
    assert (one.images, four.images, small.images, small.in_flight) == (64, 16, 64, 16)
    assert one.activations == 4 * four.activations == 4 * small.activations
    assert small.gradients == 2 * one.gradients and one.weights == four.weights == costs.weight_bytes
    # Views of 32 x 32 x 3, and three copies of the similarities [2n, 2N], in float32.
    remembers = memory_of(config_of(train_batch_size=64, memory_size=1024), traced(**PLAIN, memory_size=1024), 4)
    assert remembers.weights == 2 * costs.weight_bytes + 4 * 1024 * 16  # a copy of the networks, and the queue
    assert remembers.batch - four.batch == 4 * 3 * 32 * 1024
    assert one.batch == 4 * (64 * 2 * 3072 + 3 * 128 * 128) and four.batch == 4 * (16 * 2 * 3072 + 3 * 32 * 128)


# ---- The command ----


def test_a_dry_run_prints_and_returns_its_numbers_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = tf_simclr.run(**SMALL, dry_run=True, train_batch_size=4096, mode="train_then_eval", model_dir="here")
    assert not os.listdir(tmp_path) and not result.directory
    lines = capsys.readouterr().out.splitlines()
    for words in (
        "nothing is trained",
        "1,281,167 training images, 1,000 classes (published sizes",
        "31,279 steps, 100 epochs of 312.8 steps, 3,128 of warm-up",
        "0 at step 0, 4.8 at step 3,128, 2.4 at step 17,203",
        "1, --micro_batch_size=64",
    ):
        assert any(words in line for line in lines), words
    rows = [line.split()[0] for line in lines if line[:1].isdigit()]
    assert rows == [*(str(2**power) for power in range(10)), "1,", "1,", "1,"]
    numbers = {name.removeprefix("dry_run/"): number for name, number in result.metrics.items()}
    assert numbers["train_steps"] == 1_281_167 * 100 // 4096 + 1
    assert numbers["warmup_steps"] == round(10 * 1_281_167 / 4096)
    assert numbers["peak_learning_rate"] == pytest.approx(0.3 * 16)
    parts = ("encoder", "projection_head", "supervised_head")
    assert numbers["parameters"] == sum(numbers[f"parameters_{part}"] for part in parts)


def test_built_in_images_are_counted_as_a_run_does():
    built_in = build_config({**SMALL, "dataset": "shapes", "train_split": "train[:600]"})
    assert dry_run.sizes_of(built_in) == ((600, 10), False)


def test_the_settings_for_a_folder_are_those_of_a_run(tmp_path, monkeypatch, capsys):
    make_images(tmp_path / "images", class_folders({"cat": 20, "dog": 20}))
    monkeypatch.chdir(tmp_path)
    result = tf_simclr.run(data_dir="images", dry_run=True)
    text = capsys.readouterr().out
    images = int(result.metrics["dry_run/images"])
    assert f"folder, {images} training images, 2 classes" in text and os.listdir(tmp_path) == ["images"]
    command = text.partition(f"settings for a folder of {images} images, as in: ")[2].splitlines()[0]
    assert "--model_dir=runs/folder-" in command and "--data_dir=images" in command and "dry_run" not in command


@pytest.mark.parametrize(
    "words, message",
    [
        (["--mode=eval", "--model_dir=here"], "`dry_run` describes a training, and mode eval trains nothing"),
        (["--train_split=test"], "has the splits: train, validation. Received: 'test'"),
        (["--train_batch_size=9999999"], "at most the 1281167 images"),
        (["--train_mode=finetune", "--checkpoint=nowhere"], "where none was found"),
        (["--dataset=folder", "--data_dir=nowhere"], "There is no such folder"),
        (["--dataset=no_such_set"], "There is no such data set"),
        (["--dataset=mnist", "--data_dir=."], "and nothing is downloaded here. Received: dataset='mnist'"),
    ],
)
def test_what_could_not_work_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL_WORDS, "--dry_run", *words]) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and not os.listdir(tmp_path)


def test_published_sizes_of_slices_and_versions():
    assert published_split("cifar10:3.0.2", "train[:10%]") == (5_000, 10)
    assert published_split("imagenet2012_subset/1pct:5.1.0", "train") == (12_811, 1000)
    assert published_split("shapes_of_mine", "train") is None
    with pytest.raises(InputError, match="has the splits: train, test"):
        published_split("cifar10", "validation")


# ---- The recipes ----

MILLIONS = {
    "imagenet_resnet50": 24,
    "table6/resnet50_x1": 24,
    "table6/resnet50_x2": 94,
    "table6/resnet50_x4": 375,
    **{f"table7/resnet50_x{w}_{p}pct": n for w, n in ((1, 24), (2, 94), (4, 375)) for p in (1, 10)},
    "simclr_v2/r50_1x_sk0": 24,
    "simclr_v2/finetune_1pct": 24,
    "simclr_v2/finetune_10pct": 24,
    "simclr_v2/r152_3x_sk1": 795,
    "simclr_v2/r152_3x_sk1_finetune_1pct": 795,
    "simclr_v2/r152_3x_sk1_finetune_10pct": 795,
}
RECIPES = sorted(
    str(path.relative_to(flags.CONFIGS).with_suffix(""))
    for path in flags.CONFIGS.glob("**/*.cfg")
    if path.parent.name != "transfer"  # these are of `evaluate`, and have no network of their own
)


@pytest.fixture(scope="module")
def encoders():
    """Millions of parameters of the encoder of a config; networks that are alike are built once."""
    found = {}

    def millions(config):
        model, stem = config.model, config.model.stem_for(config.data.image_size)
        key = (model.resnet_depth, model.width_multiplier, model.sk_ratio, stem)
        if key not in found:
            found[key] = parameters_of(networks_of(config, 10))[0]["encoder"] / 1e6
        return found[key]

    return millions


@pytest.mark.python_alone
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_lengths_and_the_published_parameters(name, encoders):
    parsed = flags.parse([f"--flagfile=configs/{name}.cfg"], ALL_FLAG_GROUPS)
    config = build_config(parsed.values)
    header = (flags.CONFIGS / f"{name}.cfg").read_text().split("\n--")[0]
    assert all(part in header for part in ("Source:", "Command:", "Expected:", "Time:"))
    assert f"--flagfile=configs/{name}.cfg" in header or name in ("quickstart", "supervised")
    if name != "own_images":
        split, _ = dry_run.sizes_of(config)
        resolve_durations(config, split.num_examples)
    if name in MILLIONS:
        assert round(encoders(config)) == MILLIONS[name]


def test_the_recipes_of_the_paper_are_all_there():
    grid = {f"cifar10_grid/rate{rate}_tau{tau}" for rate in (0.5, 1.0, 1.5) for tau in (0.1, 0.5, 1.0)}
    assert set(RECIPES) >= set(MILLIONS) | grid
