"""Every layer and every option of our networks in ONNX, against onnxruntime."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.interop.exports import images
from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.interop.formats.onnx_graph import onnx_model
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.nn.resnet import BLOCKS_PER_GROUP

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NARROW = {"depth": 18, "width_multiplier": 0.0625, "proj_out_dim": 8, "num_classes": 5}
NORMALIZED = {"input_mean": (0.485, 0.456, 0.406), "input_std": (0.229, 0.224, 0.225)}


def drawn(model):
    """The same networks with weights and statistics that are nowhere as they were initialised."""
    generator = np.random.default_rng(0)
    for path, variable in model.named_variables().items():
        leaf, shape = path.rsplit("/", 1)[1], tuple(variable.shape)
        if leaf == "kernel":
            value = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        else:
            # The last scale of a block is small, so that deep networks stay near 1.
            low, high = {"gamma": (0.3, 0.5), "moving_variance": (0.5, 2.0)}.get(leaf, (-0.3, 0.3))
            value = generator.uniform(low, high, shape)
        compat.raw_variable(variable).assign(value.astype(np.float32))
    return model


def assert_same(model, *batches):
    found = onnx_model(model)
    onnx.checker.check_model(found, full_check=True)
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for batch in batches:
        expected = model.endpoints(batch, training=False)
        for name, value in zip(names, session.run(names, {"inputs": batch}), strict=True):
            scale = max(1.0, np.abs(expected[name]).max())
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-5 * scale, err_msg=name)
    return names


ENCODERS = (
    *({"depth": depth, "pool_padding": "symmetric"} for depth in (10, 34, 50, 101)),
    {"depth": 18, "width_multiplier": 0.1},
    {"depth": 18, "identity_shortcut": True, **NORMALIZED},
    {"depth": 10, "stem": "cifar", "se_ratio": 0.25},
    {"depth": 18, "sk_ratio": 0.0625, "pool_padding": "symmetric"},
    {"depth": 50, "sk_ratio": 0.0625, "se_ratio": 0.25, **NORMALIZED},
    {"depth": 50, "sk_ratio": 0.5, "stem": "cifar"},
    {"depth": 50, "width_multiplier": 0.125, "se_ratio": 0.5, "pool_padding": "symmetric"},
)
HEADS = (
    {"proj_head_mode": "none"},
    {"proj_head_mode": "linear", "proj_head_offset": True},
    {"num_proj_layers": 3, "ft_proj_selector": 1, "finetune": True},
    {"num_proj_layers": 2, "ft_proj_selector": -1, "finetune": True},
    {"num_classes": 0},
)
# Of build_model: what changes training, or numbers that a file of weights does not depend on.
OF_TRAINING = {"fine_tune_after_block", "zero_init_logits_layer", "global_bn", "batch_norm_decay", "dtype"}


def test_no_option_is_left_out():
    tried = {name for options in (NARROW, *ENCODERS, *HEADS) for name in options}
    assert set(inspect.signature(build_model).parameters) == tried | OF_TRAINING
    # These differ from 101 in the number of their blocks alone.
    assert set(BLOCKS_PER_GROUP) - {options.get("depth") for options in ENCODERS} == {152, 200}


@pytest.mark.parametrize("options", ENCODERS, ids=str)
def test_every_option_of_the_encoder(options):
    # Even and odd sizes: padding depends on which.
    names = assert_same(drawn(build_model(**NARROW | options)), images(2, 32, 32), images(1, 45, 33))
    assert names == ["final_avg_pool", "proj_head_output", "logits_sup"]


@pytest.mark.parametrize("options", HEADS, ids=str)
def test_every_option_of_the_heads(options):
    names = assert_same(drawn(build_model(**NARROW | {"depth": 10} | options)), images())
    assert ("logits_sup" in names) == (options.get("num_classes") != 0)


def test_parts_that_are_not_there_have_no_output():
    assert assert_same(SimCLRModel(drawn(build_model(**NARROW)).encoder), images()) == ["final_avg_pool"]


def test_weights_have_the_paths_of_our_checkpoints():
    model = drawn(build_model(**NARROW | {"depth": 10}))
    found = {constant.name: onnx.numpy_helper.to_array(constant) for constant in onnx_model(model).graph.initializer}
    for path, variable in model.named_variables().items():
        value = compat.raw_variable(variable).numpy()
        expected = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        np.testing.assert_array_equal(found[path], expected, err_msg=path)


def encoder_of(*of_images):
    """An encoder of somebody's own: layers one after the other."""
    inputs = x = tf.keras.Input((None, None, 3), name="images")
    for layer in of_images:
        x = layer(x)
    x = tf.keras.layers.GlobalAveragePooling2D(name="final_avg_pool")(x)
    return SimCLRModel(tf.keras.Model(inputs, {"final_avg_pool": x}, name="encoder"))


def test_layers_that_an_encoder_of_ones_own_may_have():
    layers = tf.keras.layers
    model = encoder_of(
        layers.Conv2D(8, 4, padding="same", activation="relu", bias_initializer="ones"),
        layers.Conv2D(8, (3, 5), groups=4, dilation_rate=2, padding="same"),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="sigmoid"),
        layers.AveragePooling2D((2, 3), strides=2, padding="same"),
    )
    assert_same(model, images(2, 31, 32), images(1, 32, 30))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (tf.keras.layers.Activation("swish", name="odd"), "activation (swish|silu) of odd"),
        (tf.keras.layers.SeparableConv2D(4, 3, name="odd"), "SeparableConv2D odd"),
    ],
)
def test_a_layer_without_a_translation_is_named(layer, words):
    with pytest.raises(InputError, match=f"`to` must not be onnx .* Received: {words}"):
        onnx_model(encoder_of(layer))
