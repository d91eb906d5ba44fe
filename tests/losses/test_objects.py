"""The loss objects are the functions, and a function given to Keras as a loss is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import views
from tf_simclr import losses
from tf_simclr.compat import saving
from tf_simclr.config import LossConfig
from tf_simclr.config.model import CONTRASTIVE_LOSSES, MINING_LOSSES
from tf_simclr.errors import InputError
from tf_simclr.losses.dcl import dcl
from tf_simclr.losses.debiased import debiased_nt_xent
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.nt_logistic import nt_logistic
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.objects import loss_of
from tf_simclr.losses.supcon import supcon
from tf_simclr.train.step import contrastive_loss

PAIRS = [
    (losses.NTXent(0.3, hidden_norm=False), nt_xent, {"temperature": 0.3, "hidden_norm": False}),
    (
        losses.NTLogistic(0.3, semi_hard=True, margin=0.6, hidden_norm=False),
        nt_logistic,
        {"temperature": 0.3, "semi_hard": True, "margin": 0.6, "hidden_norm": False},
    ),
    (
        losses.MarginTriplet(0.6, semi_hard=True, temperature=0.3, hidden_norm=False),
        margin_triplet,
        {"margin": 0.6, "semi_hard": True, "temperature": 0.3, "hidden_norm": False},
    ),
    (losses.DCL(0.3, hidden_norm=False), dcl, {"temperature": 0.3, "hidden_norm": False}),
    (losses.DebiasedNTXent(0.3, class_prior=0.2), debiased_nt_xent, {"temperature": 0.3, "class_prior": 0.2}),
]
LABELS = np.array([0, 1, 0, -1, 2, 1, 0, -1])


@pytest.mark.parametrize(("loss", "function", "options"), PAIRS, ids=[pair[0].name for pair in PAIRS])
def test_an_object_is_its_function(loss, function, options):
    z_a, z_b = views(8)
    want = function(z_a, z_b, **options)
    assert float(loss(z_a, z_b)) == float(want.loss)
    for got, wanted in zip(losses.contrastive_statistics(z_a, z_b, loss), want, strict=True):
        assert float(got) == float(wanted)
    again = saving.deserialize_keras_object(saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert options.items() <= loss.get_config().items()


def test_the_supervised_object_is_its_function():
    z_a, z_b = views(8)
    loss, options = losses.SupCon(0.3, hidden_norm=False), {"temperature": 0.3, "hidden_norm": False}
    want = supcon(z_a, z_b, LABELS, **options)
    assert float(loss(z_a, z_b, labels=LABELS)) == float(want.loss)
    for got, wanted in zip(losses.contrastive_statistics(z_a, z_b, loss, LABELS), want, strict=True):
        assert float(got) == float(wanted)
    again = saving.deserialize_keras_object(saving.serialize_keras_object(loss))
    assert type(again) is losses.SupCon and again.get_config() == loss.get_config() == {"name": "supcon", **options}
    for call in (loss, loss.statistics, lambda a, b: losses.contrastive_statistics(a, b, loss)):
        with pytest.raises(InputError, match="needs labels"):
            call(z_a, z_b)
    with pytest.raises(InputError, match="sample_weight"):
        loss(z_a, z_b, np.ones(8), labels=LABELS)


@pytest.mark.parametrize("loss", [losses.NTXent(), losses.DCL()])
def test_labels_change_nothing_where_the_loss_does_not_learn_from_them(loss):
    z_a, z_b = views(8)
    got = losses.contrastive_statistics(z_a, z_b, loss, LABELS)
    assert [float(x) for x in got] == [float(x) for x in loss.statistics(z_a, z_b)]


def test_statistics_are_those_of_nt_xent_by_default():
    z_a, z_b = views(8)
    assert [float(x) for x in losses.contrastive_statistics(z_a, z_b)] == [float(x) for x in nt_xent(z_a, z_b)]


@pytest.mark.parametrize("name", CONTRASTIVE_LOSSES)
def test_the_loss_of_flags_has_their_numbers(name):
    norm = name == "debiased"
    settings = LossConfig(name, 0.4, norm, margin=0.7, semi_hard=name in MINING_LOSSES, class_prior=0.3)
    z_a, z_b = views(8)
    loss = loss_of(settings)
    flags = dataclasses.asdict(settings)
    assert loss.name == name and flags.items() >= {k: v for k, v in loss.get_config().items() if k != "name"}.items()
    want = loss.labelled_statistics(z_a, z_b, LABELS)
    assert float(contrastive_loss(z_a, z_b, settings, LABELS).loss) == float(want.loss)


@pytest.mark.parametrize("function", [nt_xent, nt_logistic, margin_triplet])
@pytest.mark.parametrize("target", [np.zeros(8), np.zeros((8, 3))])
def test_keras_cannot_train_the_mean_of_three_numbers(function, target):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
    model.compile(loss=function, optimizer="sgd")
    # Keras 2 wraps what it raises while it traces.
    with pytest.raises(Exception, match=r"losses\.NTXent\(\)"):
        model.fit(np.zeros((8, 4)), target, verbose=0)


def test_the_three_numbers_are_no_tensor_and_pass_through_a_graph():
    z_a, z_b = views(8)
    output = tf.function(nt_xent)(z_a, z_b)
    assert float(output.loss) == pytest.approx(float(nt_xent(z_a, z_b).loss), rel=1e-5)
    with pytest.raises(InputError, match="NTXent"):
        tf.convert_to_tensor(output)


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.NTXent(0.0),
        lambda: losses.NTLogistic(margin=0.0, semi_hard=True),
        lambda: losses.MarginTriplet(-1),
        lambda: losses.DCL(0.0),
        lambda: losses.SupCon(-1.0),
        lambda: losses.DebiasedNTXent(0.0),
        lambda: losses.DebiasedNTXent(class_prior=1.0),
    ],
)
def test_numbers_that_cannot_work_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_weights_and_single_vectors_are_refused():
    z_a, z_b = views(8)
    with pytest.raises(InputError, match="sample_weight"):
        losses.NTXent()(z_a, z_b, np.ones(8))
    with pytest.raises(InputError, match="two views"):
        losses.NTXent()(z_a, z_b[:4])
