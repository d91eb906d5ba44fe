from __future__ import annotations

import dataclasses
import json

import pytest

from tf_simclr.config import (
    AugmentationConfig,
    DataConfig,
    ExperimentConfig,
    OperatorOption,
    build_config,
    eval_crop_for,
    parts,
    read_augmentation,
    resolve_durations,
)
from tf_simclr.errors import InputError


@pytest.mark.parametrize(
    "values,message",
    [
        ({"temperature": 0.0}, r"`temperature` must be > 0. Received: temperature=0.0"),
        ({"loss": "triplet"}, "`loss` must be one of: nt_xent, nt_logistic, margin_triplet, dcl, .*loss='triplet'"),
        ({"loss": "margin_triplet", "margin": -0.1}, "`margin` must be >= 0"),
        ({"semi_hard": True}, "Pass --loss=nt_logistic or --loss=margin_triplet"),
        ({"semi_hard": True, "loss": "supcon"}, "supcon weighs all of them.*loss=supcon. Pass --loss=nt_logistic"),
        ({"loss": "debiased", "hidden_norm": False}, "`hidden_norm` must be True for --loss=debiased"),
        ({"loss": "debiased", "class_prior": 1.0}, "`class_prior` must be >= 0 and <= 0.99"),
        ({"loss": "nt_logistic", "semi_hard": True, "margin": 0}, "`semi_hard` needs a margin above 0"),
        (
            {"resnet_depth": 20},
            r"`resnet_depth` must be one of: 10, 18, 34, 50, 101, 152, 200. Received: resnet_depth=20",
        ),
        ({"width_multiplier": 0}, "width_multiplier"),
        ({"momentum": 1.5}, "momentum"),
        ({"train_epochs": 0}, "train_epochs"),
        ({"train_epochs": float("inf")}, "`train_epochs` must be finite and > 0"),
        ({"train_epochs": 1e300}, r"`train_epochs` must be > 0 and <= 1e\+09. Received: train_epochs=1e\+300"),
        ({"learning_rate": 1e300}, r"`learning_rate` must be <= 3.4e\+38"),
        ({"width_multiplier": 1e6}, "`width_multiplier` must be > 0 and <= 64"),
        ({"proj_out_dim": 2**40}, r"`proj_out_dim` must be >= 1 and <= 1e\+06"),
        ({"image_size": 2**40}, "`image_size` must be >= 8 and <= 16384"),
        ({"train_steps": 2**70}, r"`train_steps` must be <= 9.22337e\+18"),
        ({"fine_tune_after_block": 5}, "fine_tune_after_block"),
        ({"num_proj_layers": 0}, "num_proj_layers"),
        ({"seed": -1}, "seed"),
        ({"input_mean": "0.5,0.5"}, "`input_mean` must be 3 numbers.*Received: input_mean='0.5,0.5'"),
        ({"input_mean": "a,b,c"}, "`input_mean` must be 3 numbers"),
        ({"input_mean": "0,0,inf"}, "`input_mean` must be finite"),
        ({"input_std": "1,0,1"}, "`input_std` must be > 0"),
        ({"identity_shortcut": True}, "`identity_shortcut` must be False for bottlenecks.*resnet_depth=50"),
        ({"pool_padding": "valid"}, "`pool_padding` must be one of: same, symmetric"),
        ({"color_jitter_strength": -0.5}, "color_jitter_strength"),
        ({"augmentation": "crop,solarise"}, "must be one of: crop, flip, color_drop, .*augmentation='solarise'"),
        ({"augmentation": "flip,crop"}, "must begin with crop"),
        ({"augmentation": "crop,flip,crop"}, "crop more than once"),
        ({"augmentation": "sobel:2"}, "color_jitter, cutout, noise, blur. Received: sobel:2"),
        ({"augmentation": "noise:a"}, "NAME:STRENGTH@PROBABILITY.*Received: noise:a"),
        ({"augmentation": "noise:"}, "NAME:STRENGTH@PROBABILITY"),
        ({"augmentation": "crop,,flip"}, "must be one of"),
        ({"augmentation": "noise@0"}, "noise@PROBABILITY` must be > 0 and <= 1"),
        ({"augmentation": "noise:inf"}, "NAME:STRENGTH@PROBABILITY"),
        ({"augmentation": "cutout:1.5"}, "cutout:STRENGTH` must be > 0 and <= 1"),
        ({"augmentation": "blur:0.1"}, "blur:STRENGTH` must be > 0.1"),
        ({"augmentation": "blur", "use_blur": False}, "Pass --use_blur=True, or leave blur out"),
        ({"augmentation": "color_jitter", "color_jitter_strength": 0.0}, "Write color_jitter:STRENGTH"),
        ({"min_crop_area": 0.0}, "min_crop_area` must be > 0 and <= 1. Received: min_crop_area=0.0"),
        ({"min_crop_area": 1.5}, "min_crop_area` must be > 0 and <= 1"),
        ({"min_crop_area": float("nan")}, "min_crop_area` must be finite and > 0 and <= 1"),
        ({"augmentation_branch": "one"}, "`augmentation` must name the operators of the one branch"),
        ({"augmentation_branch": "two"}, "`augmentation_branch` must be one of: both, one"),
        ({"dataset": "folder"}, "Pass --data_dir=DIR"),
        ({"eval_crop": 0.0}, "`eval_crop` must be > 0 and <= 1. Received: eval_crop=0.0"),
        ({"eval_crop": 1.5}, "`eval_crop` must be > 0 and <= 1"),
        ({"eval_crop": float("nan")}, "`eval_crop` must be finite and > 0"),
        ({"train_mode": "finetune", "ft_proj_selector": 4}, "at most 3"),
        ({"train_mode": "finetune", "ft_proj_selector": 2, "proj_head_mode": "linear"}, "at most 1"),
        ({"eval_every_epochs": -1}, "`eval_every_epochs` must be >= 0"),
        ({"online_eval_examples": 0}, "`online_eval_examples` must be >= 1"),
        ({"eval_every_epochs": 0.5, "train_mode": "finetune"}, "`eval_every_epochs` must be 0 when fine-tuning"),
        ({"untrained_baseline": True, "lineareval_while_pretraining": False}, "untrained_baseline"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as error:
        build_config({"dataset": "shapes"} | values)
    assert "\n" not in str(error.value) and "Received:" in str(error.value)


def test_numbers_that_a_loss_does_not_use_are_accepted():
    assert build_config({"dataset": "shapes", "margin": 0.0}).loss.loss == "nt_xent"
    assert build_config({"dataset": "shapes", "loss": "margin_triplet", "temperature": 1.0}).loss.margin == 0.4
    mined = build_config({"dataset": "shapes", "loss": "nt_logistic", "semi_hard": True, "margin": 0.2}).loss
    assert (mined.loss, mined.semi_hard, mined.margin) == ("nt_logistic", True, 0.2)


def test_augmentation_is_read_as_written():
    found = read_augmentation(" crop, color_jitter:0.5@0.8,noise@0.25 ,blur:2")
    assert found == (
        OperatorOption("crop"),
        OperatorOption("color_jitter", 0.5, 0.8),
        OperatorOption("noise", None, 0.25),
        OperatorOption("blur", 2.0),
    )
    assert read_augmentation("") == ()
    ExperimentConfig(augmentation=AugmentationConfig(0.0, augmentation="color_jitter:0.5", use_blur=False)).validate()


def test_a_name_that_is_no_field_is_refused():
    with pytest.raises(KeyError, match="learnig_rate"):
        build_config({"learnig_rate": 1.0})


def test_json_round_trip():
    config = build_config({"dataset": "shapes", "seed": 3, "data_dir": None, "sk_ratio": 0.0625})
    assert build_config(json.loads(config.to_json())) == config


def test_field_names_are_unique_over_all_parts():
    names = [field.name for part in parts(ExperimentConfig()) for field in dataclasses.fields(part)]
    assert len(names) == len(set(names))


def durations(num_examples=1000, **values):
    return resolve_durations(build_config({"dataset": "shapes", "train_batch_size": 100, **values}), num_examples)


def test_steps_override_epochs():
    assert durations(train_steps=7, train_epochs=50, warmup_epochs=0).train_steps == 7


def test_epochs_become_steps():
    assert durations(train_epochs=3, warmup_epochs=1).train_steps == 31
    assert durations(1050, train_epochs=2, warmup_epochs=1) == durations(1050, train_epochs=2, warmup_epochs=1)
    assert durations(1050, train_epochs=2, warmup_epochs=1).warmup_steps == 10  # 10.5 rounds to even


def test_checkpoints_by_epochs_or_steps():
    assert durations(train_epochs=20).checkpoint_steps == 10
    assert durations(train_epochs=20, checkpoint_epochs=2.5).checkpoint_steps == 25
    assert durations(train_epochs=20, checkpoint_steps=3).checkpoint_steps == 3


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (1, 10), (0.5, 5), (2.5, 25), (0.001, 1), (1000, 10_000)])
def test_online_evaluations_by_epochs(epochs, steps):
    assert durations(train_epochs=20, eval_every_epochs=epochs).online_eval_steps == steps


def test_online_evaluations_are_due_at_multiples_and_at_the_end():
    found = durations(train_steps=23, warmup_epochs=0, eval_every_epochs=0.5)
    assert [step for step in range(24) if found.online_eval_is_due(step)] == [5, 10, 15, 20, 23]
    never = durations(train_steps=23, warmup_epochs=0)
    assert not any(never.online_eval_is_due(step) for step in range(24))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(InputError, match="at most the 99 images"):
        durations(99, train_epochs=20)


@pytest.mark.parametrize("values", [{"train_epochs": 10}, {"train_steps": 100}, {"train_steps": 5}])
def test_a_warmup_that_never_ends_is_refused(values):
    with pytest.raises(InputError, match="warmup_epochs"):
        durations(warmup_epochs=11, **values)


@pytest.mark.parametrize(
    "stem,size,expected", [("auto", 32, "cifar"), ("auto", 33, "imagenet"), ("cifar", 224, "cifar")]
)
def test_the_stem_is_its_own_choice(stem, size, expected):
    assert build_config({"dataset": "shapes", "stem": stem}).model.stem_for(size) == expected


@pytest.mark.parametrize(
    ("size", "given", "share"),
    [(224, None, 0.875), (33, None, 0.875), (32, None, 1.0), (16, None, 1.0), (224, 1.0, 1.0), (32, 0.875, 0.875)],
)
def test_one_place_decides_what_evaluation_sees(size, given, share):
    assert eval_crop_for(size, given) == share
    assert DataConfig(image_size=size, eval_crop=given).crop_of_evaluation == share


def test_runs_from_before_the_crop_was_a_flag_keep_theirs():
    recorded = build_config({"dataset": "shapes", "image_size": 64}).to_flags()
    del recorded["eval_crop"]
    assert build_config(recorded).data.crop_of_evaluation == 0.875
