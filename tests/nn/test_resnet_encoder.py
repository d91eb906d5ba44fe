"""Encoders: exact sizes, shapes, endpoints, initial state, freezing, selective kernels and squeeze-and-excitation."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import ENDPOINTS, build_encoder, freeze_through, layer_group, scaled_width


def build_small(**options):
    return build_encoder(**{"depth": 18, "width_multiplier": 0.125, **options})


def images(batch=2, height=32, width=32, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(size=(batch, height, width, 3)).astype("float32"))


# What is known: torchvision-like counts without classifier, plus a projection shortcut (1x1 convolution and norm) in
# group 1 of the basic-block nets, minus 7*7*3*64 - 3*3*3*64 for the CIFAR stem.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"depth": 18}, 11_180_736),
        ({"depth": 34}, 21_288_896),
        ({"depth": 50}, 23_508_032),
        ({"depth": 50, "width_multiplier": 2}, 93_907_072),
        ({"depth": 101}, 42_500_160),
        ({"depth": 152}, 58_143_808),
        ({"depth": 50, "sk_ratio": 0.0625}, 35_215_584),
        ({"depth": 10, "stem": "cifar"}, 4_902_336),
        ({"depth": 18, "stem": "cifar"}, 11_173_056),
        ({"depth": 50, "stem": "cifar"}, 23_500_352),
    ],
    ids=str,
)
def test_trainable_parameter_counts(options, expected):
    encoder = build_encoder(**options)
    assert sum(int(np.prod(v.shape)) for v in encoder.trainable_variables) == expected


@pytest.mark.parametrize(("depth", "blocks", "convolutions"), [(10, 4, 13), (18, 8, 21), (50, 16, 53), (200, 66, 203)])
def test_depth_counts_layers(depth, blocks, convolutions):
    encoder = build_encoder(depth, width_multiplier=1 / 64)
    names = [layer.name for layer in encoder.layers]
    assert sum(name.endswith("_add") for name in names) == blocks
    # The depth counts the classifier's layer and not the four projection shortcuts.
    assert sum(isinstance(x, tf.keras.layers.Conv2D) for x in encoder.layers) == convolutions == depth - 1 + 4


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (65, 64), (1, 7)])
@pytest.mark.parametrize("sk_ratio", [0.0, 0.1])
@pytest.mark.parametrize(("stem", "shifts"), [("imagenet", (1, 2, 2, 3, 4, 5)), ("cifar", (0, 0, 0, 1, 2, 3))])
def test_endpoint_shapes(stem, shifts, height, width, sk_ratio):
    """Every stride-2 layer halves and rounds up, whatever the parity."""
    encoder = shared_encoder(50, stem, sk_ratio)
    endpoints = encoder(images(2, height, width))
    assert set(endpoints) == set(ENDPOINTS)
    channels = (4, 4, 16, 32, 64, 128)
    for name, shift, depth in zip(ENDPOINTS[:-1], shifts, channels, strict=True):
        expected = (2, -(-height // 2**shift), -(-width // 2**shift), depth)
        assert tuple(endpoints[name].shape) == expected, name
    np.testing.assert_allclose(
        endpoints["final_avg_pool"], tf.reduce_mean(endpoints["block_group4"], (1, 2)), atol=1e-6
    )


@functools.cache
def shared_encoder(depth, stem, sk_ratio):
    return build_encoder(depth, 1 / 16, sk_ratio=sk_ratio, stem=stem)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_initial_endpoints_are_before_the_norm_and_after_the_pool(stem):
    encoder = build_small(stem=stem)
    endpoints = encoder(images())
    rectified = tf.nn.relu(endpoints["initial_conv"] / np.sqrt(1 + 1e-5))
    if stem == "imagenet":
        rectified = tf.nn.max_pool2d(rectified, 3, 2, "SAME")
    assert tf.reduce_min(endpoints["initial_conv"]) < 0
    np.testing.assert_allclose(endpoints["initial_max_pool"], rectified, atol=1e-5)


def test_strided_convolution_pads_both_sides_alike():
    """The 7x7 stride-2 stem pads 3 zeros on each side; "same" would pad 2 and 3 on an even image."""
    encoder = build_small()
    x = images(1, 6, 6)
    kernel = encoder.get_layer("stem_conv").kernel
    padded = np.pad(x.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = [
        [np.einsum("ijc,ijcf->f", padded[0, 2 * r : 2 * r + 7, 2 * c : 2 * c + 7], kernel.numpy()) for c in range(3)]
        for r in range(3)
    ]
    np.testing.assert_allclose(encoder(x)["initial_conv"][0], expected, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
def test_blocks_start_as_their_shortcut(depth):
    """With the last scale of every branch at zero, a block without projection is the identity on its ReLU input."""
    encoder = build_encoder(depth, 1 / 16, se_ratio=0.25)
    between = [encoder.get_layer(f"block_group2_block{block}_out").output for block in (0, 1)]
    first, second = tf.keras.Model(encoder.input, between)(images(), training=True)
    assert tf.reduce_max(first) > 0
    np.testing.assert_array_equal(first, second)


def test_kernels_are_drawn_by_variance_scaling():
    encoder = build_encoder(18, 0.5)
    kernel = encoder.get_layer("block_group4_block1_conv2").kernel.numpy()
    np.testing.assert_allclose(kernel.std(), np.sqrt(1 / (9 * 256)), rtol=0.02)
    convolutions = [layer for layer in encoder.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 2 * 8 + 4 and not any(layer.use_bias for layer in convolutions)


def test_width_multiplier_rounds():
    assert [scaled_width(64, m) for m in (0.25, 1, 3, 0.1, 0.001)] == [16, 64, 192, 6, 1]


@pytest.mark.parametrize("training", [False, True])
def test_selective_kernel_equals_numpy(training):
    """Both branches, their pooled sum, the two 1x1 layers and the softmax, from the layer's own convolution output."""
    name = "block_group1_block0"
    encoder = build_encoder(50, 0.25, sk_ratio=0.0625)
    wanted = [encoder.get_layer(f"{name}_{part}").output for part in ("relu2", "sk_select")]
    branches, mixed = tf.keras.Model(encoder.input, wanted)(images(), training=training)
    first, second = np.split(branches.numpy(), 2, axis=-1)
    pooled = (first + second).mean(axis=(1, 2))
    squeezed = pooled @ encoder.get_layer(f"{name}_sk_conv1").kernel.numpy()[0, 0]
    assert squeezed.shape == (2, 32)
    mean, variance = (squeezed.mean(0), squeezed.var(0)) if training else (0, 1)
    hidden = np.maximum((squeezed - mean) / np.sqrt(variance + 1e-5), 0)
    logits = np.split(hidden @ encoder.get_layer(f"{name}_sk_conv2").kernel.numpy()[0, 0], 2, axis=-1)
    weights = np.exp(logits) / np.exp(logits).sum(0)  # [2, b, f]
    weights = weights[:, :, None, None, :]
    np.testing.assert_allclose(mixed, weights[0] * first + weights[1] * second, atol=1e-4)


def test_squeeze_and_excitation_equals_numpy():
    name = "block_group1_block0"
    encoder = build_small(se_ratio=0.5)
    encoder.get_layer(f"{name}_norm2").gamma.assign(tf.ones(8))
    wanted = [encoder.get_layer(f"{name}_{part}").output for part in ("norm2", "se_scale")]
    branch, scaled = tf.keras.Model(encoder.input, wanted)(images())
    reduce, expand = (encoder.get_layer(f"{name}_se_{part}") for part in ("reduce", "expand"))
    assert reduce.filters == 4
    hidden = np.maximum(branch.numpy().mean((1, 2)) @ reduce.kernel.numpy()[0, 0] + reduce.bias.numpy(), 0)
    gates = 1 / (1 + np.exp(-(hidden @ expand.kernel.numpy()[0, 0] + expand.bias.numpy())))
    np.testing.assert_allclose(scaled, branch * gates[:, None, None, :], atol=1e-5)


@pytest.mark.parametrize("block", range(-1, 5))
def test_freeze_through_freezes_exactly_the_first_groups(block):
    encoder = build_small(se_ratio=0.1)
    freeze_through(encoder, 4)
    freeze_through(encoder, block)
    prefixes = ["stem_", *(f"block_group{group}_" for group in range(1, 5))]
    for layer in encoder.layers:
        if layer.weights:
            group = next(i for i, prefix in enumerate(prefixes) if layer.name.startswith(prefix))
            assert layer_group(layer.name) == group
            assert bool(layer.trainable_variables) == (group > block), layer.name


def test_frozen_groups_stay_bit_identical_in_training():
    encoder = build_small()
    freeze_through(encoder, 2)
    before = {(x.name, i): w.numpy() for x in encoder.layers for i, w in enumerate(x.weights)}
    variables = [compat.raw_variable(v) for v in encoder.trainable_variables]
    for seed in range(2):
        with tf.GradientTape() as tape:
            h = encoder(images(seed=seed), training=True)["final_avg_pool"]
            loss = tf.reduce_sum(tf.square(h))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.1 * gradient)
    for layer in encoder.layers:
        for i, weight in enumerate(layer.weights):
            same = np.array_equal(weight.numpy(), before[layer.name, i])
            if layer_group(layer.name) <= 2:
                assert same, layer.name
            elif "moving" in compat.leaf_name(weight):
                assert not same, layer.name


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    encoder = build_small(sk_ratio=0.1, se_ratio=0.1, dtype=policy)
    endpoints = encoder(images(), training=True)
    assert endpoints["final_avg_pool"].dtype == tf.float32
    assert endpoints["block_group1"].dtype == policy.removeprefix("mixed_")
    assert all(np.isfinite(tf.cast(v, tf.float32)).all() for v in endpoints.values())
    assert {compat.raw_variable(v).dtype for v in encoder.weights} == {tf.float32}


def test_norm_is_passed_in():
    norm = functools.partial(BatchNorm, momentum=0.5, global_moments=False)
    norms = [x for x in build_small(norm=norm, sk_ratio=0.1).layers if isinstance(x, BatchNorm)]
    assert {(x.momentum, x.global_moments) for x in norms} == {(0.5, False)}


def test_keras_round_trip(tmp_path):
    encoder = build_encoder(50, 1 / 32, sk_ratio=0.1, se_ratio=0.1)
    encoder(images(), training=True)
    encoder.save(tmp_path / "encoder.keras")
    loaded = tf.keras.models.load_model(tmp_path / "encoder.keras")
    expected, found = encoder(images(seed=1)), loaded(images(seed=1))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 19}, "resnet_depth.*10, 18, 34, 50, 101, 152, 200.*19"),
        ({"stem": "vgg"}, "stem.*imagenet, cifar.*vgg"),
        ({"width_multiplier": 0}, "width_multiplier"),
        ({"sk_ratio": -0.1}, "sk_ratio"),
        ({"se_ratio": 2}, "se_ratio"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        build_encoder(**options)


def test_bad_block():
    with pytest.raises(InputError, match=r"fine_tune_after_block.*-1, 0, 1, 2, 3, 4.*5"):
        freeze_through(shared_encoder(50, "cifar", 0.0), 5)


MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


@pytest.mark.parametrize("size", [16, 17])
def test_a_symmetric_pool_pads_both_sides_alike(size):
    encoder = build_encoder(18, 0.0625, pool_padding="symmetric")
    found = encoder(images(height=size, width=size))
    before = np.asarray(tf.nn.relu(encoder.get_layer("stem_norm")(found["initial_conv"])))
    padded = np.pad(before, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    side = found["initial_max_pool"].shape[1]
    assert side == -(-before.shape[1] // 2)
    for row in range(side):
        for column in range(side):
            window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            np.testing.assert_array_equal(found["initial_max_pool"][:, row, column], window.max(axis=(1, 2)))


def test_an_identity_shortcut_adds_the_input():
    encoder = build_encoder(18, 0.0625, stem="cifar", identity_shortcut=True)
    names = {layer.name for layer in encoder.layers}
    assert "block_group1_block0_shortcut_conv" not in names and "block_group2_block0_shortcut_conv" in names
    found = encoder(images())  # the last scale of a block starts at 0
    np.testing.assert_array_equal(found["block_group1"], found["initial_max_pool"])


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_normalized_inputs_are_padded_by_the_mean(stem):
    tf.keras.utils.set_random_seed(1)
    plain = build_encoder(18, 0.0625, stem=stem)
    normalizing = build_encoder(18, 0.0625, stem=stem, input_mean=MEAN.tolist(), input_std=STD.tolist())
    for mine, other in zip(normalizing.weights, plain.weights, strict=True):
        mine.assign(other)
    expected = plain((images() - MEAN) / STD)
    for name, value in normalizing(images()).items():
        np.testing.assert_allclose(value, expected[name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_padding": "valid"}, "pool_padding.*same, symmetric"),
        ({"identity_shortcut": True, "depth": 50}, "resnet_depth.*18, 34"),
        ({"input_mean": (0.5,) * 3}, "three numbers each"),
        ({"input_mean": (0.5,) * 3, "input_std": (0.5, 0.5, 0)}, "above 0"),
        ({"input_mean": (0.5,) * 3, "input_std": (0.5, float("nan"), 0.5)}, "above 0"),
        ({"input_mean": (0.5, float("nan"), 0.5), "input_std": (0.5,) * 3}, "above 0"),
    ],
)
def test_bad_options_of_other_frameworks(options, message):
    with pytest.raises(InputError, match=message):
        build_encoder(**options)
