"""The kinds of data set, by name: what --dataset chooses among."""

from __future__ import annotations

from collections.abc import Callable

from tf_simclr.config import FOLDER, SHAPES, DataConfig
from tf_simclr.config.data import READ_BY_DEFAULT
from tf_simclr.data.bad_images import without_bad_images
from tf_simclr.data.folder import open_folder
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.request import HOLD_OUT, SplitRequest, request_of
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.source import ImageSource
from tf_simclr.data.splits import SplitSources, require_disjoint
from tf_simclr.data.tfds_source import open_tfds
from tf_simclr.errors import InputError

Sources = tuple[ImageSource, "ImageSource | None"]


def _shapes(request: SplitRequest, before: ListedSplits | None) -> SplitSources:
    del before
    return SplitSources(
        shapes_source(request.train_split, seed=request.seed),
        *(
            None if split is None else shapes_source(split, seed=request.seed)
            for split in (request.eval_split, request.validation_split)
        ),
    )


BUILT_IN: dict[str, Callable[[SplitRequest, ListedSplits | None], SplitSources]] = {
    SHAPES: _shapes,
    FOLDER: open_folder,
}


def load_splits(
    dataset: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    eval_split: str | None = "validation",
    validation_split: str | None = None,
    seed: int = 0,
    hold_out: float = HOLD_OUT,
    hold_out_by: str = "hash",
    labels: str | None = None,
    decoder: str = "auto",
    on_bad_image: str = "error",
    max_image_pixels: int = READ_BY_DEFAULT,
) -> SplitSources:
    """Opens a data set. Splits never share an example.

    Args:
        dataset: "shapes" (built in, made in seconds), "folder" (images below `data_dir`) or a name of TensorFlow
            Datasets, as in "cifar10", "name/config", "name:version".
        data_dir: the folder of images, or the data folder of TensorFlow Datasets.
        train_split: split to train on, or a slice of it: "train[:2000]", "train[:10%]".
        eval_split: split to evaluate on; None for none.
        validation_split: split to choose settings on; None for none. A folder without splits gives a part of its
            training split.
        seed: what `shapes` draws and what a folder without splits holds out depend on it.
        hold_out: share of each class that is held out in a folder without splits.
        hold_out_by: how, as in `SplitRequest`.
        labels: path of a table of labels for a folder; None for class folders.
        decoder: what decodes image files: "auto", "tensorflow" or "pillow"; see `decode_named`.
        on_bad_image: "error", or "skip" for splits without the images that cannot be decoded; see `without_bad_images`.
        max_image_pixels: most pixels of an image file that has to be decoded as a whole.

    Returns:
        the training source; the evaluation source: None without labels in a folder, or without `eval_split`; the
        validation source or None.

    Raises:
        InputError: anything a person can correct, in one line; two splits that share an example among it.
    """
    request = SplitRequest(
        data_dir=data_dir,
        train_split=train_split,
        eval_split=eval_split,
        validation_split=validation_split,
        seed=seed,
        hold_out=hold_out,
        hold_out_by=hold_out_by,
        labels=labels,
        decoder=decoder,
        on_bad_image=on_bad_image,
        max_image_pixels=max_image_pixels,
    )
    return _opened(dataset, request, None)


def _opened(dataset: str, request: SplitRequest, before: ListedSplits | None) -> SplitSources:
    if not dataset:
        raise InputError(
            f"`dataset` must be one of: {', '.join(BUILT_IN)}, or a name of TensorFlow Datasets. "
            f"Received: dataset={dataset!r}"
        )
    if dataset in BUILT_IN:
        sources = BUILT_IN[dataset](request, before)
    else:
        sources = open_tfds(
            dataset,
            data_dir=request.data_dir,
            train_split=request.train_split,
            eval_split=request.eval_split,
            validation_split=request.validation_split,
            built_in=tuple(BUILT_IN),
            reading=request.reading,
        )
    require_disjoint(*sources)
    if request.on_bad_image == "skip":
        others = (None if source is None else without_bad_images(source) for source in sources[1:])
        return SplitSources(without_bad_images(sources.train), *others)
    return sources


def load_sources(
    dataset: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    eval_split: str | None = "validation",
    seed: int = 0,
    hold_out: float = HOLD_OUT,
    hold_out_by: str = "hash",
    labels: str | None = None,
    decoder: str = "auto",
    on_bad_image: str = "error",
    max_image_pixels: int = READ_BY_DEFAULT,
) -> Sources:
    """The training and the evaluation source of `load_splits`."""
    sources = load_splits(
        dataset,
        data_dir=data_dir,
        train_split=train_split,
        eval_split=eval_split,
        seed=seed,
        hold_out=hold_out,
        hold_out_by=hold_out_by,
        labels=labels,
        decoder=decoder,
        on_bad_image=on_bad_image,
        max_image_pixels=max_image_pixels,
    )
    return sources.train, sources.evaluation


def build_splits(
    data: DataConfig, *, eval_split: str | None, validation_split: str | None = None, before: ListedSplits | None = None
) -> SplitSources:
    """The splits that a config describes.

    Args:
        data: which images.
        eval_split: None for no evaluation.
        validation_split: None for none.
        before: of a folder, what `known_splits` listed; None for nothing.

    Raises:
        InputError: as `load_splits`.
    """
    return _opened(data.dataset, request_of(data, eval_split=eval_split, validation_split=validation_split), before)
