"""What a kept result depends on."""

from __future__ import annotations

from tf_simclr.config import build_config
from tf_simclr.evaluate.protocols.identity import networks_identity

LATER = {"pool_padding": "symmetric", "input_mean": "0,0,0", "input_std": "2,2,2", "proj_head_offset": True}


def test_options_that_came_later_leave_old_results_valid():
    plain = networks_identity(build_config({"resnet_depth": 18}))
    assert not set(plain["model"]) & {*LATER, "identity_shortcut"} and plain["model"]["resnet_depth"] == 18


def test_and_count_where_they_are_used():
    used = {**LATER, "identity_shortcut": True}
    model = networks_identity(build_config({"resnet_depth": 18, **used}))["model"]
    assert {name: model[name] for name in used} == used
