from __future__ import annotations

import dataclasses
import os

import pytest

from tf_simclr.config import ExperimentConfig, build_config
from tf_simclr.config.experiment import known_flags, parts
from tf_simclr.config.identity import (
    MAY_CHANGE,
    NETWORK_FLAGS,
    changes,
    differences,
    read_recorded,
    recorded_flags,
)
from tf_simclr.errors import InputError

RUN = build_config({"dataset": "shapes", "image_size": 32, "train_batch_size": 16, "model_dir": "D"})


def changed(**values):
    return build_config(RUN.to_flags() | values)


def other_value(name, value):
    [field] = [f for part in parts(RUN) for f in dataclasses.fields(part) if f.name == name]
    if field.metadata["choices"]:
        return next(choice for choice in field.metadata["choices"] if choice != value)
    if isinstance(value, bool):
        return not value
    return f"other{value or ''}" if value is None or isinstance(value, str) else value + 1


def replaced(name, value):
    """The config with one flag changed, whether or not the value could be worked with."""
    for field in dataclasses.fields(ExperimentConfig):
        part = getattr(RUN, field.name)
        if hasattr(part, name):
            return dataclasses.replace(RUN, **{field.name: dataclasses.replace(part, **{name: value})})
    raise KeyError(name)


@pytest.mark.parametrize("name", sorted(known_flags() - MAY_CHANGE - {"augmentation"}))
def test_every_flag_that_is_not_listed_makes_another_run(name):
    value = getattr(next(part for part in parts(RUN) if hasattr(part, name)), name)
    lines = differences(RUN, replaced(name, other_value(name, value)))
    assert any(line.startswith(f"--{name} was ") for line in lines)


@pytest.mark.parametrize("name", sorted(MAY_CHANGE))
def test_what_is_listed_does_not(name):
    value = getattr(next(part for part in parts(RUN) if hasattr(part, name)), name)
    assert differences(RUN, replaced(name, other_value(name, value))) == []


def test_the_lists_name_flags_that_exist():
    assert known_flags() >= MAY_CHANGE and known_flags() >= NETWORK_FLAGS
    assert not MAY_CHANGE & NETWORK_FLAGS


def test_a_difference_says_what_was_and_what_is():
    other = changed(temperature=0.5, resnet_depth=18)
    assert differences(RUN, other) == ["--resnet_depth was 50, is 18", "--temperature was 0.1, is 0.5"]
    assert differences(RUN, changed(augmentation="crop,blur")) == ["--augmentation was not given, is crop,blur"]


@pytest.mark.parametrize(
    "first,second",
    [
        ({"stem": "auto"}, {"stem": "cifar"}),
        ({"augmentation": "crop, flip"}, {"augmentation": "crop,flip"}),
        (
            {"learning_rate": 0.5, "learning_rate_scaling": "linear", "train_batch_size": 256},
            {"learning_rate": 0.03125, "learning_rate_scaling": "sqrt", "train_batch_size": 256},
        ),
        (
            {"train_mode": "finetune", "checkpoint": "runs/a"},
            {"train_mode": "finetune", "checkpoint": os.path.abspath("runs/a")},
        ),
    ],
)
def test_what_decides_the_same_is_the_same(first, second):
    assert differences(changed(**first), changed(**second)) == []


def test_the_checkpoint_of_a_fine_tuning_is_part_of_it():
    first, second = (changed(train_mode="finetune", checkpoint=name) for name in ("runs/a", "runs/b"))
    [line] = differences(first, second)
    assert "--checkpoint was" in line and line.endswith(os.path.abspath("runs/b"))


def test_what_may_change_is_worth_a_line_unless_it_is_of_one_command():
    other = changed(checkpoint_steps=7, mode="train_then_eval", model_dir="E", overwrite=True)
    assert changes(RUN, other) == ["--checkpoint_steps was 0, is 7"]


def test_records_leave_out_what_is_of_one_command_and_say_where_paths_lead():
    record = recorded_flags(changed(overwrite=True, data_dir="images", model_dir="D"))
    assert "overwrite" not in record and record["model_dir"] == "D"
    assert record["data_dir"] == os.path.abspath("images")
    assert recorded_flags(changed(data_dir="gs://bucket/images"))["data_dir"] == "gs://bucket/images"


def test_flags_that_an_older_or_newer_version_did_not_know_count_as_their_defaults():
    flags = recorded_flags(RUN)
    del flags["semi_hard"], flags["overwrite" if "overwrite" in flags else "margin"]
    assert differences(read_recorded(flags | {"of_tomorrow": 3}, "flags.json"), RUN) == []


def test_a_record_that_cannot_be_worked_with_is_named():
    with pytest.raises(InputError, match=r"D/flags\.json holds flags .* --overwrite"):
        read_recorded({"temperature": -1.0}, "D/flags.json")
