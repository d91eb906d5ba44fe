"""What is asked of a data set."""

from __future__ import annotations

import dataclasses

from tf_simclr.config import DataConfig
from tf_simclr.config.data import READ_BY_DEFAULT
from tf_simclr.data.image_files import Reading

HOLD_OUT = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """Which splits of a data set are wanted, and how their images are read.

    Attributes:
        data_dir: the folder of images, or the data folder of TensorFlow Datasets.
        train_split: name of the split to train on, or a slice of it ("train[:10%]", of a folder cut from a fixed random
            order).
        eval_split: name of the split to evaluate on; None for none. In a folder without splits it only names the
            hold-out.
        validation_split: name of the split to choose settings on; None for none. In a folder without splits it is drawn
            out of the training split, as large as the hold-out.
        seed: the built-in images depend on it, and the hold-out, on nothing else but the image.
        hold_out: share of each class that is held out in a folder without splits, in (0, 0.9]; at least one image.
        hold_out_by: "hash", of each image's own path, or "count", as earlier versions did.
        labels: path of a table of labels, in place of class folders.
        decoder: what decodes the files, as in `decode_named`.
        on_bad_image: "error" refuses images that cannot be decoded by their headers; "skip" leaves them to
            `without_bad_images`.
        max_image_pixels: most pixels of a file that has to be decoded as a whole.
    """

    data_dir: str | None
    train_split: str = "train"
    eval_split: str | None = "validation"
    validation_split: str | None = None
    seed: int = 0
    hold_out: float = HOLD_OUT
    hold_out_by: str = "hash"
    labels: str | None = None
    decoder: str = "auto"
    on_bad_image: str = "error"
    max_image_pixels: int = READ_BY_DEFAULT

    @property
    def reading(self) -> Reading:
        """How its images are read."""
        return Reading(self.decoder, self.on_bad_image, self.max_image_pixels)


def request_of(data: DataConfig, *, eval_split: str | None, validation_split: str | None = None) -> SplitRequest:
    """What a config asks for.

    Args:
        data: which images.
        eval_split: None for no evaluation.
        validation_split: None for none.
    """
    return SplitRequest(
        data_dir=data.data_dir,
        train_split=data.train_split,
        eval_split=eval_split,
        validation_split=validation_split,
        seed=data.data_seed,
        hold_out_by=data.hold_out_by,
        labels=data.with_table_path().labels,
        decoder=data.decoder,
        on_bad_image=data.on_bad_image,
        max_image_pixels=data.max_image_pixels,
    )
