"""Images as a tf.data.Dataset, in the batches that `run.py` trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.config import eval_crop_for
from tf_simclr.data.datasets import load_splits
from tf_simclr.data.pipeline import eval_batches, train_batches
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError, require_range
from tf_simclr.layers import SimCLRAugmentation


def image_dataset(
    dataset: str = "folder",
    data_dir: str | None = None,
    split: str = "train",
    *,
    batch_size: int,
    augmentation: SimCLRAugmentation | None = None,
    image_size: int | None = None,
    eval_crop: float | None = None,
    train_split: str = "train",
    data_seed: int = 0,
    labels: str | None = None,
    start_step: int = 0,
    cache: bool = False,
    say: Callable[[str], Any] = print,
) -> tf.data.Dataset:
    """Batches of a folder of images, of a data set of TensorFlow Datasets, or of the built-in shapes.

    With an `augmentation` these are endless batches of views to train on: give `fit` its `steps_per_epoch`. Their order
    and every view depend on `augmentation.seed` alone, and are those of `run.py --seed`. With labels there come the
    images as evaluation sees them, which `SimCLR` trains its probe on. Without an augmentation it is one pass over the
    split in its own order, with the images as evaluation sees them.

    Args:
        dataset: "folder", "shapes", or a name of TensorFlow Datasets, as "cifar10" or "name/config".
        data_dir: the folder of images, or the data folder of TensorFlow Datasets.
        split: its name, or a slice as "train[:10%]". A folder without splits has `train_split`, and every other name
            means the tenth of each class that is held out of it.
        batch_size: images of a batch, over all replicas.
        augmentation: makes the views; its size is theirs.
        image_size: side of the images in pixels, without an augmentation.
        eval_crop: share of the shorter side that evaluation sees, in (0, 1]; None for 0.875 above 32 pixels, and 1 up
            to there.
        train_split: the split that the others are held out of.
        data_seed: what is held out, and the built-in images, depend on it.
        labels: path of a CSV file with a row for each image of a folder; None for class folders.
        start_step: batches of views that were already seen; training goes on behind them.
        cache: keep the images in memory, before they are augmented.
        say: receives a line for each thing to know of the images: what was left out, how they were split.

    Returns:
        with an augmentation batches that are a dict: "views", a tuple of float32 [batch, s, s, 3] in [0, 1], and where
        there are labels "label", int64 [batch], and "plain", float32 [batch, s, s, 3], what evaluation sees. Without,
        (images, labels) or images; the last batch may be smaller.

    Raises:
        InputError: anything a person can correct, in one line: no such folder, split or image.

    Example:
        import tf_simclr

        augmentation = tf_simclr.layers.SimCLRAugmentation(16, blur=False, seed=0)
        train = tf_simclr.image_dataset("shapes", split="train[:64]", batch_size=16, augmentation=augmentation)
        test = tf_simclr.image_dataset("shapes", split="test[:32]", batch_size=16, image_size=16)
        batch = next(iter(train))
        view_a, view_b = batch["views"]
        assert view_a.shape == batch["plain"].shape == (16, 16, 16, 3) and batch["label"].shape == (16,)
    """
    if (augmentation is None) == (image_size is None):
        raise InputError(
            "one of `augmentation` and `image_size` must be given: views to train on, or images to evaluate. Received: "
            f"augmentation={augmentation}, image_size={image_size}. Pass one of them"
        )
    side = augmentation.policy.image_size if augmentation is not None else image_size
    assert side is not None
    crop = eval_crop_for(side, eval_crop)
    require_range("batch_size", batch_size, at_least=1)
    require_range("eval_crop", crop, above=0, at_most=1)
    source = _open(dataset, data_dir, split, train_split, data_seed, labels)
    for note in source.notes:
        say(f"note: {note}")
    if augmentation is not None:
        batches = train_batches(
            source,
            policy=augmentation.policy,
            num_views=augmentation.views,
            batch_size=batch_size,
            seed=augmentation.seed,
            start_step=start_step,
            cache=cache,
            # Of all: a strategy that splits the batch among its replicas needs parts of one length.
            plain=batch_size if source.labelled else 0,
            eval_crop=crop,
        )
        fields = ("views", "label", "plain") if source.labelled else ("views",)
        return batches.map(lambda batch: {field: batch[field] for field in fields})
    batches = eval_batches(source, image_size=side, batch_size=batch_size, eval_crop=crop, cache=cache)
    return batches.map(lambda batch: _without_filling(batch, source))


def _open(
    dataset: str, data_dir: str | None, split: str, train_split: str, data_seed: int, labels: str | None
) -> ImageSource:
    options: dict[str, Any] = {"data_dir": data_dir, "seed": data_seed, "labels": labels}
    if split.partition("[")[0] == train_split.partition("[")[0]:
        return load_splits(dataset, train_split=split, eval_split=None, **options).train
    source = load_splits(dataset, train_split=train_split, eval_split=split, **options).evaluation
    if source is None:
        raise InputError(
            f"a folder of images without labels has one split. Received: split={split!r}, data_dir={data_dir!r}. Pass "
            f"split={train_split!r}"
        )
    return source


def _with_label(value: Any, label: tf.Tensor, source: ImageSource) -> Any:
    return (value, label) if source.labelled else value


def _without_filling(batch: dict[str, tf.Tensor], source: ImageSource) -> Any:
    real = tf.reduce_sum(tf.cast(batch["mask"], tf.int32))  # the filling comes last
    return _with_label(batch["image"][:real], batch["label"][:real], source)
