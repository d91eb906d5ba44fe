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


def test_fine_tuning_has_a_batch_that_the_folder_can_fill():
    for images in (2, 3, 10, 127, 128, 10**6):
        settings = fine_tuning_defaults(images)
        assert 2 <= settings["train_batch_size"] <= max(2, images // 2)
        config = build_config({**FOLDER, "train_mode": "finetune", **settings})
        assert config.optimizer.warmup_epochs == 0 and config.optimizer.optimizer == "momentum"
    assert fine_tuning_defaults(10_000)["train_epochs"] == 60 and fine_tuning_defaults(10**5)["train_epochs"] == 30
