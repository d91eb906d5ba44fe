"""Folders of images as data sets, with or without labels: sources of what `folder_splits.py` lists."""

from __future__ import annotations

from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.folder_splits import ListedSplits, list_folder
from tf_simclr.data.request import HOLD_OUT, SplitRequest
from tf_simclr.data.source import ImageSource
from tf_simclr.data.splits import SplitSources


def open_folder(request: SplitRequest, before: ListedSplits | None = None) -> SplitSources:
    """Finds the images below a folder and makes splits of them.

    Args:
        request: which, and how they are read.
        before: as in `list_folder`.

    Returns:
        the training source; the evaluation source or None (no labels, or a folder with splits and no `eval_split`); the
        validation source or None.

    Raises:
        InputError: as `list_folder`.
    """
    train, *others = list_folder(request, before)[:3]
    return SplitSources(folder_source(train), *(None if split is None else folder_source(split) for split in others))


def load_folder(
    data_dir: str | None, *, train_split: str, eval_split: str | None, seed: int = 0, hold_out: float = HOLD_OUT
) -> tuple[ImageSource, ImageSource | None]:
    """The training and the evaluation source of `open_folder`."""
    sources = open_folder(
        SplitRequest(data_dir=data_dir, train_split=train_split, eval_split=eval_split, seed=seed, hold_out=hold_out)
    )
    return sources.train, sources.evaluation
