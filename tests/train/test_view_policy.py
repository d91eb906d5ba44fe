"""Which augmentation a run takes."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_simclr.config import build_config
from tf_simclr.data.views import ViewPolicy, draw_view
from tf_simclr.errors import InputError
from tf_simclr.ops.draws import MIN_CROP_AREA, example_key
from tf_simclr.train.input import view_policy


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


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"augmentation": "crop,noise"},
        {"augmentation": "sobel,crop", "augmentation_branch": "one"},
        {"train_mode": "finetune"},
        {"train_mode": "finetune", "augmentation": "crop,noise"},
    ],
)
def test_every_crop_takes_the_smallest_area_from_its_flag(flags):
    for area in (0.5, 1.0):
        policy, num_views = policy_of(min_crop_area=area, **flags)
        drawn = draw_view(policy, example_key(0, 0, tf.range(40), num_views - 1), (40, 40, 3))
        sides = [box.numpy()[:, 2:] for name, box in drawn.items() if name in ("box", "inner_box")]
        assert len(sides) == 1 + ("one" in flags.values())
        wholes = (40, 16)  # the sides of what is cropped: the image, and then the view
        areas = [side.prod(axis=1) / whole**2 for side, whole in zip(sides, wholes, strict=False)]
        assert all(found.min() >= area - 0.04 for found in areas)
        assert area == 1.0 or all(found.min() < 0.7 for found in areas)
    assert policy_of(**flags) == policy_of(min_crop_area=MIN_CROP_AREA, **flags)


def test_the_smallest_area_of_no_crop():
    with pytest.raises(InputError, match=r"must have crop .*augmentation=noise, min_crop_area=0\.5\. Begin with crop"):
        policy_of(augmentation="noise", min_crop_area=0.5)
    # On one branch both views have a crop in common.
    assert policy_of(augmentation="noise", augmentation_branch="one", min_crop_area=0.5)[0].min_crop_area == 0.5


def test_one_view_has_no_branches():
    with pytest.raises(InputError, match="augmentation_branch` must be both when fine-tuning"):
        policy_of(train_mode="finetune", augmentation="crop", augmentation_branch="one")
