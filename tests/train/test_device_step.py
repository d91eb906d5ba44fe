"""A step that makes its views on the device trains as one that is given them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tests.train.test_device_views import ONE_DEVICE, batches, config_of
from tf_simclr.compat import raw_variable
from tf_simclr.config import Durations
from tf_simclr.train import build, input
from tf_simclr.train.device_views import DeviceViews
from tf_simclr.train.train_function import build_train_function

DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)


def state_of(strategy, **values):
    with pytest.MonkeyPatch.context() as patch, strategy.scope():
        patch.setattr(build, "build_networks", small_networks)
        return build.build_train_state(config_of(**values), DURATIONS, num_classes=10)


def trained(strategy, given=False, **values):
    """The variables after two steps.

    Args:
        strategy: devices.
        given: whether the step gets views that were made before it, of the same crops.
        values: flags.
    """
    values = {"augmentation": "crop,flip,cutout,color_drop"} | values  # traced and compiled in no time
    state = state_of(strategy, **values | {"augment_on": "host" if given else "device"})
    views = DeviceViews(*input.view_policy(state.config))

    def given_step(batch):
        return state.step(batch | {"views": views(batch)})

    train = build_train_function(strategy, given_step if given else state.step)
    train(batches(state.config, strategy, host_only=True), tf.constant(2))
    return {path: raw_variable(v).numpy() for path, v in state.named_state().items()}


def check_same_weights(got, wanted):
    for path, value in wanted.items():
        np.testing.assert_allclose(got[path], value, atol=3e-4 * max(1.0, np.abs(value).max()), err_msg=path)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"jit_compile": True, "online_head": "authors"},
        {"micro_batch_size": 3},
        {"train_mode": "finetune"},
    ],
    ids=lambda flags: ",".join(flags) or "plain",
)
def test_a_step_that_makes_its_views_is_one_that_is_given_them(flags):
    without = {name: value for name, value in flags.items() if name != "jit_compile"}
    check_same_weights(trained(ONE_DEVICE, **flags), trained(ONE_DEVICE, given=True, **without))


def test_replicas_make_the_views_of_their_own_micro_batches(mirrored):
    flags = {"micro_batch_size": 2, "online_head": "authors"}
    check_same_weights(trained(mirrored(2), **flags), trained(mirrored(2), given=True, **flags))


def test_replicas_train_as_one_device(mirrored):
    flags = {"train_batch_size": 16, "online_head": "authors"}
    check_same_weights(trained(mirrored(4), **flags), trained(ONE_DEVICE, **flags))


def test_tracing_happens_once(monkeypatch):
    state = state_of(ONE_DEVICE, augment_on="device", augmentation="crop,flip")
    traced, make = [], state.device_views._make
    monkeypatch.setattr(state.device_views, "_make", lambda *words: traced.append(1) or make(*words))
    train, iterator = build_train_function(ONE_DEVICE, state.step), batches(state.config, host_only=True)
    train(iterator, tf.constant(1))
    first = len(traced)
    train(iterator, tf.constant(3))
    assert first == len(traced) == 1
