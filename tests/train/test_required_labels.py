"""What cannot be trained without labels is refused before any work, and pretraining is not."""

from __future__ import annotations

import pytest

from tests.data.folders import make_images
from tf_simclr.config import build_config
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.train.build import build_data
from tf_simclr.train.images import require_needed_labels


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
        ({"loss": "supcon"}, "`loss` must not be supcon for images without labels"),
    ],
)
def test_what_needs_labels_is_refused_without_them(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        opened(tmp_path, **flags)


def source(**what):
    """A split of which only the classes are asked for."""
    blank = dict.fromkeys(("name", "split", "num_examples", "image_shape", "records", "decode"))
    return ImageSource(**{**blank, "name": "folder", **what})


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ({"num_classes": 0, "class_names": ()}, "without labels"),
        ({"num_classes": 1, "class_names": ("cat",)}, "of one class"),
        ({"num_classes": 2, "class_names": ("cat", "dog"), "targets": lambda: None}, "with several classes each"),
    ],
)
def test_the_supervised_contrastive_loss_needs_one_of_several_classes_an_image(what, kind):
    config = build_config({"dataset": "folder", "data_dir": "images", "loss": "supcon"})
    with pytest.raises(InputError, match=f"`loss` must not be supcon for images {kind}.*Received: loss=supcon"):
        require_needed_labels(config, source(**what))
    require_needed_labels(config, source(num_classes=2, class_names=("cat", "dog")))
    require_needed_labels(build_config({"dataset": "folder", "data_dir": "images"}), source(**what))
    # Fine-tuning has no contrastive loss, whatever the flag says.
    tuned = build_config({"dataset": "folder", "data_dir": "images", "loss": "supcon", "train_mode": "finetune"})
    require_needed_labels(tuned, source(num_classes=1, class_names=("cat",)))
