from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tf_simclr.config import FROZEN_PROTOCOLS, DataConfig, LabelledTraining, ProtocolConfig, read_labelled_training
from tf_simclr.config.option import KEPT_RESULTS, affecting, option
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.strengths import L2_STRENGTHS


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("finetune_1pct", LabelledTraining("finetune_1pct", True, 0.01, None)),
        ("finetune_0.5pct", LabelledTraining("finetune_0.5pct", True, 0.005, None)),
        ("supervised_10pct", LabelledTraining("supervised_10pct", False, 0.1, None)),
        ("finetune_20per_class", LabelledTraining("finetune_20per_class", True, None, 20)),
        ("supervised", LabelledTraining("supervised", False, 1.0, None)),
        ("finetune", LabelledTraining("finetune", True, 1.0, None)),
        ("finetune_100pct", LabelledTraining("finetune_100pct", True, 1.0, None)),
        ("finetune_grid", None),
        ("knn", None),
    ],
)
def test_names_of_labelled_trainings(name, wanted):
    assert read_labelled_training(name) == wanted


@pytest.mark.parametrize("name", ["finetune_0pct", "finetune_101pct", "supervised_0per_class", "finetune_1.5per_class"])
def test_amounts_that_cannot_be(name):
    with pytest.raises(InputError, match="Received"):
        ProtocolConfig(checkpoint="c", protocols=name).validate()


# Part of the name of kept results: whoever changes a set here makes all results of that protocol anew.
SETTINGS = {
    "health": set(),
    "knn": {"knn_k", "knn_temperature"},
    "linear_cached": {"linear_epochs", "linear_batch_size", "linear_learning_rate"},
    "logreg": {"logreg_iterations", "logreg_strengths", "metric"},
    "linear": {"linear_epochs", "finetune_batch_size", "linear_learning_rate"},
    "finetune_1pct": {"finetune_epochs", "finetune_batch_size", "finetune_learning_rate"},
    "supervised_20per_class": {
        *("supervised_epochs", "supervised_learning_rate", "supervised_weight_decay"),
        "finetune_batch_size",
    },
    "finetune_grid": {"grid_learning_rates", "grid_weight_decays", "grid_steps", "finetune_batch_size", "metric"},
}


@pytest.mark.parametrize("protocol", SETTINGS)
def test_a_result_depends_on_the_options_that_say_so(protocol):
    config = ProtocolConfig(checkpoint="c", linear_epochs=7.0)
    found = config.settings_of(protocol)
    assert set(found) == SETTINGS[protocol]
    assert found == {name: getattr(config, name) for name in found}


def test_an_option_that_says_nothing_affects_every_result():
    part = dataclasses.make_dataclass(
        "Part",
        [
            ("new", int, option(0, "")),
            ("path", str, option("", "", affects=())),
            ("k", int, option(1, "", affects=("knn",))),
        ],
    )
    assert affecting(part, "knn") == {"new", "k"} and affecting(part, "logreg") == {"new"}


def test_every_result_an_option_names_is_one():
    parts = (ProtocolConfig, DataConfig)
    named = {name for part in parts for field in dataclasses.fields(part) for name in field.metadata["affects"] or ()}
    assert named | {"reading"} == KEPT_RESULTS
    assert {*FROZEN_PROTOCOLS, "linear", "finetune_grid"} < named


@pytest.mark.parametrize("wrong", [("kmn",), ("knn", "studies"), "linear_cached"])
def test_a_result_that_is_misspelt_is_refused(wrong):
    with pytest.raises(ValueError, match="must be of"):
        option(0, "", affects=wrong)


def test_lists_are_read_in_order_and_once():
    config = ProtocolConfig(checkpoint="c", protocols=" logreg, knn,logreg", knn_k="200,20", eval_seeds="3,1,3")
    config.validate()
    assert config.protocol_names == ("logreg", "knn")
    assert config.ks == (200, 20)
    assert config.seeds == (3, 1)
    assert config.knn_temperatures == (0.1,)


def test_strengths_and_grid_are_the_papers():
    """SimCLR, Appendix B.8: 45 strengths in [1e-6, 1e5]; 7 rates in [1e-4, 1e-1], 7 decays in [1e-6, 1e-3] and none."""
    config = ProtocolConfig(checkpoint="c")
    np.testing.assert_allclose(config.l2_strengths, L2_STRENGTHS, rtol=1e-5)
    rates, decays = config.grid
    np.testing.assert_allclose(rates, np.logspace(-4, -1, 7), rtol=1e-5)
    assert decays[0] == 0
    np.testing.assert_allclose(decays[1:], np.logspace(-6, -3, 7), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"checkpoint": None}, "`checkpoint` must name"),
        ({"protocols": ""}, "`protocols` must name at least one"),
        ({"protocols": "knn,voodoo"}, "Received: 'voodoo'"),
        ({"endpoints": " , "}, "`endpoints` must name at least one"),
        ({"eval_seeds": "-1"}, "`eval_seeds` must be >= 0"),
        ({"eval_seeds": "one"}, "`eval_seeds` must be a list of numbers"),
        ({"metric": "luck"}, "`metric` must be one of"),
        ({"knn_k": "0"}, "`knn_k` must be >= 1"),
        ({"knn_temperature": "0"}, "`knn_temperature` must be > 0"),
        ({"logreg_strengths": "0"}, "`logreg_strengths` must be > 0"),
        ({"linear_epochs": 0.0}, "`linear_epochs` must be > 0"),
        ({"finetune_batch_size": 1}, "`finetune_batch_size` must be >= 2"),
        ({"grid_steps": 0}, "`grid_steps` must be >= 1"),
    ],
)
def test_what_cannot_work_is_one_line(settings, words):
    with pytest.raises(InputError, match="Received") as caught:
        ProtocolConfig(**({"checkpoint": "c"} | settings)).validate()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
