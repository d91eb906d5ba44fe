from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import tf_simclr
from tf_simclr.cli import flags
from tf_simclr.cli.completion import ALL_FLAG_GROUPS, complete_by_images
from tf_simclr.config import build_config, resolve_durations
from tf_simclr.config.experiment import known_flags
from tf_simclr.config.own_images import ROWS, TRAINING_FLAGS, fine_tuning_defaults, has_plain_flags, own_images_defaults
from tf_simclr.errors import InputError

FILE = Path(tf_simclr.__file__).parent / "configs" / "own_images.cfg"
FOLDER = {"dataset": "folder", "data_dir": "images"}


@pytest.mark.parametrize("count", [2, 3, 7, 40, 500, 501, 2_000, 9_000, 60_000, 2_000_000])
def test_every_number_of_images_has_settings_that_work(count):
    chosen = own_images_defaults(count)
    assert set(chosen) <= TRAINING_FLAGS <= known_flags()
    config = build_config(FOLDER | chosen)
    durations = resolve_durations(config, count)
    assert durations.warmup_steps < durations.train_steps and config.data.train_batch_size <= count
    assert config.data.train_batch_size * 2 <= count or count < 4
    assert not has_plain_flags(config, TRAINING_FLAGS) and has_plain_flags(build_config(FOLDER), TRAINING_FLAGS)


def test_what_does_not_change_the_training_keeps_the_settings():
    """Somebody who leaves out the drawing of views, or asks for a trace, still gets the settings for a folder."""
    beside = {"draw_views": False, "profile_steps": "1,2", "skip_nonfinite_steps": 3, "ema_decay": 0.9}
    config = build_config(FOLDER | beside)
    assert has_plain_flags(config, TRAINING_FLAGS)
    complete, [line] = complete_by_images(config, frozenset({*FOLDER, *beside}), 700, None)
    assert complete.to_flags() == build_config(FOLDER | beside | own_images_defaults(700)).to_flags()
    assert "--draw_views=False" in line and "--ema_decay=0.9" in line


def completed(given, images=700, run=None):
    config = build_config(FOLDER | given)
    return complete_by_images(config, frozenset({*FOLDER, *given}), images, run)


def test_a_length_alone_makes_the_same_training_shorter():
    chosen = own_images_defaults(700)
    shorter, [line] = completed({"train_epochs": 5.0})
    assert shorter.to_flags() == build_config(FOLDER | chosen | {"train_epochs": 5.0, "warmup_epochs": 0.5}).to_flags()
    assert "a length given" in line and "--train_epochs=5 " in line and "--warmup_epochs=0.5" in line
    steps, _ = completed({"train_steps": 70})
    assert steps.model == shorter.model and resolve_durations(steps, 700).train_steps == 70
    assert resolve_durations(steps, 700).warmup_steps == 7
    own, _ = completed({"train_epochs": 5.0, "warmup_epochs": 2.0})
    assert (own.train.train_epochs, own.optimizer.warmup_epochs) == (5.0, 2.0)
    # The run goes on by the same command, whatever the folder holds by now.
    assert completed({"train_epochs": 5.0}, 5_000, shorter)[0].to_flags() == shorter.to_flags()
    assert completed({}, 5_000, shorter)[0].to_flags() == shorter.to_flags()
    assert completed({"train_steps": 70}, 5_000, steps)[0].to_flags() == steps.to_flags()


def test_another_flag_switches_the_settings_off_and_says_so():
    config, [line, *_] = completed({"temperature": 0.5, "train_batch_size": 16})
    assert config.model.resnet_depth == 50 and "ResNet-50 at 224 px" in line and "configs/own_images.cfg" in line
    assert "--temperature was given" in line
    # Who names a network knows.
    assert not [note for note in completed({"resnet_depth": 18, "train_batch_size": 16})[1] if "was given" in note]
    with pytest.raises(InputError, match=r"configs/own_images\.cfg"):
        resolve_durations(completed({"temperature": 0.5})[0], 320)


def test_a_few_images_more_or_less_change_nothing():
    assert own_images_defaults(700) == own_images_defaults(699) == own_images_defaults(701)


def test_more_images_take_no_more_epochs():
    assert [row.epochs for row in ROWS] == sorted((row.epochs for row in ROWS), reverse=True)
    assert [row.most for row in ROWS] == sorted(row.most for row in ROWS) and ROWS[-1].most == float("inf")


def test_the_flag_file_says_the_same():
    parsed = flags.parse([f"--flagfile={FILE}"], ALL_FLAG_GROUPS)
    written = build_config(parsed.values)
    chosen = build_config(FOLDER | own_images_defaults(1_000))
    assert dataclasses.replace(written, data=dataclasses.replace(written.data, data_dir="images")) == chosen


def test_a_folder_of_a_few_images_says_what_to_do():
    _, [settings, few] = completed({}, images=30)
    assert "--train_batch_size=8" in settings and "30 images are few" in few and "with 15 others" in few
    assert len(completed({}, images=32)[1]) == 1


def test_fine_tuning_has_a_batch_that_the_folder_can_fill():
    for images in (2, 3, 10, 127, 128, 10**6):
        settings = fine_tuning_defaults(images)
        assert 2 <= settings["train_batch_size"] <= max(2, images // 2)
        config = build_config({**FOLDER, "train_mode": "finetune", **settings})
        assert config.optimizer.warmup_epochs == 0 and config.optimizer.optimizer == "momentum"
    assert fine_tuning_defaults(10_000)["train_epochs"] == 60 and fine_tuning_defaults(10**5)["train_epochs"] == 30
