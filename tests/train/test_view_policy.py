"""Which augmentation a run takes."""

from __future__ import annotations

import pytest

from tf_simclr.config import build_config
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.train.build import view_policy


def policy_of(**flags):
    return view_policy(build_config({"dataset": "shapes", "image_size": 16, **flags}))


def names(policy):
    return [type(operator).__name__ for operator in policy.operators]


def test_training_with_labels_crops_and_flips_unless_it_is_told_otherwise():
    plain = (ViewPolicy.crop_and_flip(16), 1)
    assert policy_of(train_mode="finetune") == plain
    assert policy_of(train_mode="finetune", color_jitter_strength=0.3, use_blur=True) == plain
    told, num_views = policy_of(train_mode="finetune", augmentation="crop,color_jitter:0.3,blur")
    assert num_views == 1
    assert names(told) == ["ColorJitter", "Blur"]
    assert policy_of(augmentation="crop,color_jitter:0.3,blur") == (told, 2)


def test_on_one_branch_a_crop_may_come_later():
    policy, _ = policy_of(augmentation="cutout,crop", augmentation_branch="one")
    assert names(policy) == ["Cutout", "CropAgain"]
    with pytest.raises(InputError, match="must begin with crop"):
        policy_of(augmentation="cutout,crop")


def test_one_view_has_no_branches():
    with pytest.raises(InputError, match="augmentation_branch` must be both when fine-tuning"):
        policy_of(train_mode="finetune", augmentation="crop", augmentation_branch="one")
