"""The kinds of data set, by name: what --dataset chooses among."""

from __future__ import annotations

from collections.abc import Callable

from tf_simclr.data.bad_images import without_bad_images
from tf_simclr.data.folder import HOLD_OUT, load_folder
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.source import ImageSource
from tf_simclr.data.tfds_source import load_tfds
from tf_simclr.errors import InputError

Sources = tuple[ImageSource, "ImageSource | None"]


def _shapes(
    data_dir: str | None, train_split: str, eval_split: str | None, seed: int, hold_out: float, decoder: str
) -> Sources:
    train = shapes_source(train_split, seed=seed)
    return train, None if eval_split is None else shapes_source(eval_split, seed=seed)


def _folder(
    data_dir: str | None, train_split: str, eval_split: str | None, seed: int, hold_out: float, decoder: str
) -> Sources:
    return load_folder(
        data_dir, train_split=train_split, eval_split=eval_split, seed=seed, hold_out=hold_out, decoder=decoder
    )


BUILT_IN: dict[str, Callable[[str | None, str, str | None, int, float, str], Sources]] = {
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
    decoder: str = "auto",
    on_bad_image: str = "error",
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
        decoder: "auto", "tensorflow" or "pillow", see `decode_named`.
        on_bad_image: "error" leaves it to whoever meets a damaged image; "skip" decodes every image now and leaves
            the damaged ones out, see `without_bad_images`.

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
        train, evaluation = BUILT_IN[dataset](data_dir, train_split, eval_split, seed, hold_out, decoder)
    else:
        train, evaluation = load_tfds(
            dataset,
            data_dir=data_dir,
            train_split=train_split,
            eval_split=eval_split,
            built_in=tuple(BUILT_IN),
            decoder=decoder,
        )
    if on_bad_image == "skip":
        return without_bad_images(train), None if evaluation is None else without_bad_images(evaluation)
    return train, evaluation
