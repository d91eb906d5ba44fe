"""The kinds of data set, by name: what --dataset chooses among."""

from __future__ import annotations

from collections.abc import Callable

from tf_simclr.data.folder import HOLD_OUT, load_folder
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.source import ImageSource
from tf_simclr.data.tfds_source import load_tfds
from tf_simclr.errors import InputError

Sources = tuple[ImageSource, "ImageSource | None"]


def _shapes(data_dir: str | None, train_split: str, eval_split: str | None, seed: int, hold_out: float) -> Sources:
    train = shapes_source(train_split, seed=seed)
    return train, None if eval_split is None else shapes_source(eval_split, seed=seed)


def _folder(data_dir: str | None, train_split: str, eval_split: str | None, seed: int, hold_out: float) -> Sources:
    return load_folder(data_dir, train_split=train_split, eval_split=eval_split, seed=seed, hold_out=hold_out)


BUILT_IN: dict[str, Callable[[str | None, str, str | None, int, float], Sources]] = {
    "shapes": _shapes,
    "folder": _folder,
}


def load_sources(
    dataset: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    eval_split: str | None = "validation",
    seed: int = 0,
    hold_out: float = HOLD_OUT,
) -> Sources:
    """Opens a data set.

    Args:
        dataset: "shapes" (built in, made in seconds), "folder" (pictures below `data_dir`) or a name of TensorFlow
            Datasets, as in "cifar10", "name/config", "name:version".
        data_dir: the folder of pictures, or the data folder of TensorFlow Datasets.
        train_split: split to train on, or a slice of it: "train[:2000]", "train[:10%]".
        eval_split: split to evaluate on; None for none.
        seed: what `shapes` draws and what a folder without splits holds out depend on it.
        hold_out: share of each class that is held out in a folder without splits.

    Returns:
        the training source, and the evaluation source: None without labels in a folder, or without `eval_split`.

    Raises:
        InputError: anything a person can mend, in one line.
    """
    if not dataset:
        raise InputError(
            f"`dataset` must be one of: {', '.join(BUILT_IN)}, or a name of TensorFlow Datasets. "
            f"Received: dataset={dataset!r}"
        )
    if dataset in BUILT_IN:
        return BUILT_IN[dataset](data_dir, train_split, eval_split, seed, hold_out)
    return load_tfds(
        dataset,
        data_dir=data_dir,
        train_split=train_split,
        eval_split=eval_split,
        built_in=tuple(BUILT_IN),
    )
