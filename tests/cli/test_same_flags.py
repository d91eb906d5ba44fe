"""How the flags of workers are compared; tests/cli/test_multi_worker.py has real workers."""

from __future__ import annotations

import json

import pytest

from tf_simclr.cli.same_flags import differences, require_same_flags
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.files import to_json


class Three:
    """Three workers, of which the others were started with other flags."""

    alone = False

    def __init__(self, *others):
        self.others = others

    def gather(self, text):
        """What each worker would say of its flags: this one's, and those of others with other values of them."""
        known = json.loads(text)
        texts = [to_json({**known, **{k: v for k, v in other.items() if k in known}}) for other in self.others]
        return [text, *texts]


def test_differences_are_named_with_their_workers():
    found = [{"a": 1, "b": None}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}]
    assert differences(found) == ["--b=None on worker 0, 2 on workers 1 and 2, unknown on worker 3"]
    assert differences(found[:1] * 4) == []


def test_all_flags_count_but_the_paths_and_the_addresses_of_the_machine():
    config = build_config({"data_dir": "/here", "input_workers": "grpc://a:1", "model_dir": "/x"})
    require_same_flags(config, Three({"data_dir": "/there"}, {"strategy": "multi_worker"}))
    for name, value in (("train_steps", 9), ("mode", "train_then_eval"), ("checkpoint_steps", 7), ("seed", 1)):
        with pytest.raises(InputError, match=rf"the same flags\. Received: --{name}=.* on workers 0 and 1, {value} on"):
            require_same_flags(config, Three({}, {name: value}))


def test_a_long_list_is_cut_and_counted():
    config = build_config({})
    other = {name: f"other {value}" for name, value in config.to_flags().items()}
    with pytest.raises(InputError, match=r"on worker 1 and \d+ more\. Start all workers") as caught:
        require_same_flags(config, Three(other))
    assert str(caught.value).count("--") == 10
