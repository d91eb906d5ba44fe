"""The builders of TensorFlow Datasets (TFDS): found by name, prepared where they are not yet."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import Any

from tf_simclr.errors import InputError


def import_tfds(name: str, built_in: Sequence[str]) -> Any:
    """The module, which takes seconds to import: only those who use it pay for it.

    Args:
        name: of the data set, for the message.
        built_in: names of the other kinds of data set, for the message.

    Raises:
        InputError: it is not installed.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(
            f"TensorFlow Datasets is needed for this data set (pip install tensorflow-datasets); built in are: "
            f"{', '.join(built_in)}. Received: dataset={name!r} ({error})"
        ) from error
    return tensorflow_datasets


def open_builder(tfds: Any, name: str, data_dir: str | None, built_in: Sequence[str]) -> Any:
    """The builder of a data set, which is downloaded and prepared first when it is not there yet.

    Args:
        tfds: what `import_tfds` returns.
        name: "cifar10", "name/config" or "name:version".
        data_dir: where TFDS keeps its data; None for its default.
        built_in: names of the other kinds of data set, for the message.

    Raises:
        InputError: there is no such data set, or it cannot be prepared.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        known = [*built_in, *tfds.list_builders()]
        bare = name.split("/")[0].split(":")[0]
        near = difflib.get_close_matches(bare, known, n=3)
        hint = f"; did you mean {' or '.join(near)}" if near else ""
        raise InputError(
            f"There is no such data set. Built in are: {', '.join(built_in)}; any other name is looked up in "
            f"TensorFlow Datasets{hint}. Received: dataset={name!r}"
        ) from error
    except (ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise InputError(
            f"TensorFlow Datasets cannot open this data set: {one_line(error)} Received: dataset={name!r}"
        ) from error
    if not builder.info.splits:
        _prepare(tfds, builder, name)
    return builder


def _prepare(tfds: Any, builder: Any, name: str) -> None:
    logging.getLogger(__name__).warning("%s is not in %s yet: downloading and preparing it", name, builder.data_path)
    try:
        builder.download_and_prepare()
    except (OSError, AssertionError, ImportError, tfds.download.DownloadError) as error:
        raise InputError(
            f"{name} is not in {builder.data_path} and cannot be prepared: {one_line(error)} Remove the "
            f"cause, or prepare it elsewhere and pass --data_dir. Received: dataset={name!r}"
        ) from error


def one_line(error: BaseException) -> str:
    """What an error says, as one line of at most 300 characters that ends in a full stop."""
    text = " ".join(str(error).split())
    return (text if len(text) < 300 else text[:297] + "...").rstrip(".") + "."
