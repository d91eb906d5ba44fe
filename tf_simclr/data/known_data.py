"""What is known of a data set before TensorFlow is imported: of a folder all but the pixels, of `shapes` all."""

from __future__ import annotations

from typing import NamedTuple

from tf_simclr.config import FOLDER, SHAPES, DataConfig
from tf_simclr.data.folder_splits import ListedSplits, list_folder
from tf_simclr.data.known_split import KnownSplit
from tf_simclr.data.request import request_of
from tf_simclr.data.shapes_splits import shapes_split


class KnownSplits(NamedTuple):
    """The splits of a data set, listed and not opened.

    Attributes:
        train: what is trained on.
        evaluation: what is measured on; None without labels in a folder, or where none was asked for.
        validation: what settings are chosen on; None where none was asked for.
        listed: the files of a folder, for the code that opens it; None of other data sets.
    """

    train: KnownSplit
    evaluation: KnownSplit | None
    validation: KnownSplit | None
    listed: ListedSplits | None = None


def known_splits(
    data: DataConfig, *, eval_split: str | None, validation_split: str | None = None, before: ListedSplits | None = None
) -> KnownSplits | None:
    """Looks at the splits that `build_splits` opens.

    Args:
        data: which images.
        eval_split: None for no evaluation.
        validation_split: None for none.
        before: as in `list_folder`.

    Returns:
        None for a data set of TensorFlow Datasets, which needs TensorFlow to be looked at.

    Raises:
        InputError: no such folder or split, or a folder that cannot be used.
    """
    if data.dataset == SHAPES:
        evaluation, validation = (
            None if split is None else shapes_split(split) for split in (eval_split, validation_split)
        )
        return KnownSplits(shapes_split(data.train_split), evaluation, validation)
    if data.dataset != FOLDER:
        return None
    listed = list_folder(request_of(data, eval_split=eval_split, validation_split=validation_split), before)
    return KnownSplits(listed.train, listed.evaluation, listed.validation, listed)
