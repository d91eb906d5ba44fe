"""What cannot be trained without labels is refused before any work, and pretraining is not."""

from __future__ import annotations

import pytest

from tests.data.folders import make_images
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data


def opened(folder, **flags):
    """The data of a run on images without labels."""
    make_images(folder, [f"{number}.png" for number in range(8)])
    return build_data(build_config({"dataset": "folder", "data_dir": str(folder), **flags}))


def test_images_without_labels_can_be_pretrained_on(tmp_path):
    data = opened(tmp_path)
    assert data.train.num_examples == 8 and not data.train.labelled


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train_mode": "finetune"}, "`train_mode` must be pretrain for images without labels"),
        ({"untrained_baseline": True}, "`untrained_baseline` needs one label an image"),
    ],
)
def test_what_needs_labels_is_refused_without_them(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        opened(tmp_path, **flags)
