"""The container of encoder and heads: endpoints, names of variables, what is trained when."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import model_util
from tf_simclr import compat
from tf_simclr.errors import InputError
from tf_simclr.nn.blocks import BlockStyle, bottleneck_block, conv, norm_relu
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import ENDPOINTS


def build_small(**options):
    return build_model(**{"depth": 18, "width_multiplier": 0.0625, "stem": "cifar", "num_classes": 4, **options})


def images(seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(size=(4, 8, 8, 3)).astype("float32"))


def trained_keys(model):
    trained = {id(v) for v in model.trainable_variables}
    return {key for key, v in model.named_variables().items() if id(v) in trained}


@pytest.mark.parametrize("mode", ["none", "linear", "nonlinear"])
def test_endpoints(mode):
    model = build_small(proj_head_mode=mode, proj_out_dim=6)
    endpoints = model.endpoints(images(), training=True)
    hidden = {"proj_head_layer1", "proj_head_layer2"} if mode == "nonlinear" else set()
    assert set(endpoints) == {*ENDPOINTS, "proj_head_input", "proj_head_output", "logits_sup", *hidden}
    assert tuple(endpoints["proj_head_output"].shape) == (4, 32 if mode == "none" else 6)
    assert tuple(endpoints["logits_sup"].shape) == (4, 4)


def test_endpoints_equal_the_parts_called_one_by_one():
    model = build_small(ft_proj_selector=1)
    endpoints = model.endpoints(images(), training=False)
    h = model.encoder(images(), training=False)["final_avg_pool"]
    z = model.projection_head(h, training=False)
    np.testing.assert_array_equal(endpoints["proj_head_output"], z["proj_head_output"])
    np.testing.assert_array_equal(endpoints["logits_sup"], model.supervised_head(z["proj_head_layer1"]))


def test_parts_may_be_missing():
    encoder = build_small().encoder
    assert set(SimCLRModel(encoder).endpoints(images(), training=False)) == set(ENDPOINTS)
    assert build_small(num_classes=0).supervised_head is None
    head = model_util.SupervisedHead(32, 3)
    model = model_util.Model(encoder, supervised_head=head)
    endpoints = model.endpoints(images(), training=False)
    np.testing.assert_array_equal(endpoints["logits_sup"], head(endpoints["final_avg_pool"]))


@pytest.mark.parametrize("options", [{}, {"depth": 50, "sk_ratio": 0.1, "se_ratio": 0.1, "stem": "imagenet"}])
def test_names_are_unique_and_complete(options):
    model = build_small(**options)
    named = model.named_variables()
    parts = (model.encoder, model.projection_head, model.supervised_head)
    assert {id(v) for v in named.values()} == {id(v) for part in parts for v in part.weights}
    assert len(named) == sum(len(part.weights) for part in parts)
    assert list(named) == list(build_small(**options).named_variables())
    layers = model.variable_layers()
    assert list(layers) == list(named)
    for key, layer in layers.items():
        part, name, leaf = key.split("/")
        assert part in ("encoder", "projection_head", "supervised_head")
        assert name == layer.name
        assert leaf in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
        assert isinstance(layer, BatchNorm) == (leaf not in ("kernel", "bias"))


def test_some_names_that_checkpoints_depend_on():
    assert {
        "encoder/stem_conv/kernel",
        "encoder/stem_norm/moving_mean",
        "encoder/block_group1_block0_shortcut_conv/kernel",
        "encoder/block_group4_block1_norm2/gamma",
        "projection_head/layer3_norm/gamma",
        "supervised_head/dense/bias",
    } <= set(build_small().named_variables())


def test_trainable_and_non_trainable_partition_the_variables():
    model = build_small(finetune=True, fine_tune_after_block=2)
    every = [id(v) for v in model.named_variables().values()]
    trained = [id(v) for v in model.trainable_variables]
    frozen = [id(v) for v in model.non_trainable_variables]
    assert sorted(trained + frozen) == sorted(every)
    assert trained == [i for i in every if i in set(trained)]


def test_pretraining_trains_everything_but_moving_statistics():
    model = build_small()
    assert trained_keys(model) == {key for key in model.named_variables() if "moving" not in key}


@pytest.mark.parametrize(
    ("selector", "trained_layers"), [(0, set()), (1, {"1"}), (2, {"1", "2"}), (-1, {"1", "2", "3"})]
)
def test_finetuning_trains_only_the_projection_layers_it_reads(selector, trained_layers):
    keys = trained_keys(build_small(finetune=True, ft_proj_selector=selector))
    found = {key.removeprefix("projection_head/layer")[0] for key in keys if key.startswith("projection_head")}
    assert found == trained_layers
    assert any(key.startswith("encoder/stem") for key in keys)


def test_finetuned_variables_all_receive_a_gradient():
    """Nothing unused is left trainable: weight decay would shrink it for nothing."""
    model = build_small(finetune=True, ft_proj_selector=1, fine_tune_after_block=1)
    variables = [compat.raw_variable(v) for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.endpoints(images(), training=True)["logits_sup"])
    assert all(gradient is not None for gradient in tape.gradient(loss, variables))


@pytest.mark.parametrize("selector", [0, 1])
def test_linear_evaluation_trains_only_the_classifier(selector):
    model = build_small(finetune=True, fine_tune_after_block=4, ft_proj_selector=selector)
    assert trained_keys(model) == {"supervised_head/dense/kernel", "supervised_head/dense/bias"}
    before = {key: v.numpy().copy() for key, v in model.named_variables().items()}
    model.endpoints(images(), training=True)
    for key, variable in model.named_variables().items():
        np.testing.assert_array_equal(variable.numpy(), before[key], err_msg=key)


def test_pretraining_and_finetuning_have_the_same_variables():
    assert list(build_small().named_variables()) == list(
        build_small(finetune=True, ft_proj_selector=1, fine_tune_after_block=3).named_variables()
    )


def test_options_reach_their_layers():
    model = build_small(global_bn=False, batch_norm_decay=0.7, zero_init_logits_layer=True)
    norms = [x for part in (model.encoder, model.projection_head) for x in part.layers if isinstance(x, BatchNorm)]
    assert {(x.global_moments, x.momentum) for x in norms} == {(False, 0.7)}
    assert not model.endpoints(images(), training=False)["logits_sup"].numpy().any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ft_proj_selector": 4}, "ft_proj_selector"),
        ({"ft_proj_selector": 1, "proj_head_mode": "none"}, "ft_proj_selector"),
        ({"num_classes": -1}, "num_classes"),
        ({"fine_tune_after_block": 4}, "fine_tune_after_block.*pretraining"),
        ({"fine_tune_after_block": 5, "finetune": True}, "fine_tune_after_block"),
        ({"depth": 19}, "resnet_depth"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        build_small(**options)


def test_container_checks_its_selector():
    with pytest.raises(InputError, match="ft_proj_selector"):
        SimCLRModel(build_small().encoder, supervised_input=1)


def build_tiny():
    """One bottleneck with selective kernels and squeeze-and-excitation, under all of the heads."""
    style = BlockStyle(BatchNorm, sk_ratio=0.1, se_ratio=0.5)
    inputs = tf.keras.Input((None, None, 3))
    x = norm_relu(conv(inputs, 4, 3, 1, "stem_conv", style), "stem", "", style)
    x = bottleneck_block(x, 4, 2, True, "block_group1_block0", style)
    h = tf.keras.layers.GlobalAveragePooling2D(name="final_avg_pool")(x)
    encoder = tf.keras.Model(inputs, {"final_avg_pool": h}, name="encoder")
    head = model_util.ProjectionHead("nonlinear", 16, 8, 2)
    return SimCLRModel(encoder, head, model_util.SupervisedHead(16, 4), 1)


def gradients_and_statistics(strategy):
    """Gradients of a nonlinear function of z and logits, summed over replicas, and the moving statistics."""
    with strategy.scope():
        model = build_tiny()
    rng = np.random.default_rng(1)
    named = model.named_variables()
    for key, variable in named.items():
        positive = key.endswith(("gamma", "variance"))
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) if positive else 0.3 * rng.normal(size=variable.shape))
    parts = np.split(rng.uniform(size=(12, 8, 8, 3)).astype("float32"), strategy.num_replicas_in_sync)
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    variables = [compat.raw_variable(v) for v in model.trainable_variables]

    def replica_step(share):
        with tf.GradientTape() as tape:
            found = model.endpoints(share, training=True)
            loss = tf.reduce_sum(tf.sin(found["proj_head_output"])) + tf.reduce_sum(tf.sin(found["logits_sup"]))
        return tf.distribute.get_replica_context().all_reduce("sum", tape.gradient(loss, variables))

    gradients = tf.function(lambda: strategy.run(replica_step, (shares,)))()
    keys = [key for key in named if key in trained_keys(model)]
    gradients = [strategy.experimental_local_results(gradient)[0].numpy() for gradient in gradients]
    statistics = {key: v.numpy() for key, v in named.items() if "moving" in key}
    return dict(zip(keys, gradients, strict=True)) | statistics


@pytest.mark.parametrize("replicas", [2, 3])
def test_blocks_and_heads_on_replicas_equal_one(mirrored, replicas):
    expected = gradients_and_statistics(mirrored(1))
    shared = gradients_and_statistics(mirrored(replicas))
    for name, value in expected.items():
        np.testing.assert_allclose(shared[name], value, atol=1e-4 * max(np.abs(value).max(), 0.1), err_msg=name)
