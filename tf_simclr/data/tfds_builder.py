"""The builders of TensorFlow Datasets (TFDS): found by name, prepared where they are not yet."""

from __future__ import annotations

import difflib
import logging
import os
import queue
import socket
import threading
import time
import urllib.parse
import urllib.request
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


def open_builder(
    tfds: Any, name: str, data_dir: str | None, built_in: Sequence[str], *, only_look: bool = False
) -> Any:
    """The builder of a data set, which is downloaded and prepared first when it is not there yet.

    Args:
        tfds: what `import_tfds` returns.
        name: "cifar10", "name/config" or "name:version".
        data_dir: where TFDS keeps its data; None for its default.
        built_in: names of the other kinds of data set, for the message.
        only_look: refuses a data set that is not there, and writes nothing.

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
    if not builder.info.splits and only_look:
        raise InputError(
            f"{name} is not in {builder.data_path}, and nothing is downloaded here. Received: dataset={name!r}. "
            "Prepare it, or pass a --data_dir where it is"
        )
    if not builder.info.splits:
        _prepare(tfds, builder, name)
    return builder


def open_directory(tfds: Any, directory: str) -> Any:
    """The builder of a data set that lies in a directory, without the code that made it.

    Args:
        tfds: what `import_tfds` returns.
        directory: with a dataset_info.json.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return tfds.builder_from_directory(directory)
    except (ValueError, AssertionError, RuntimeError, OSError) as error:
        raise InputError(
            f"TensorFlow Datasets cannot open this directory: {one_line(error)} Received: {directory!r}. Prepare it "
            "again"
        ) from error


def _prepare(tfds: Any, builder: Any, name: str) -> None:
    hosts = _hosts_of(builder)
    if hosts and not _has_downloads(builder) and not urllib.request.getproxies() and not any_answers(hosts):
        # TFDS would try each of them for minutes.
        raise InputError(
            f"{name} is not in {builder.data_path}, and there is no network to download it: none of "
            f"{', '.join(hostname for hostname, _ in hosts)} answers. Received: dataset={name!r}. Prepare it where "
            "there is a network, copy the folder and pass its --data_dir; or pass --dataset=shapes, which needs none"
        )
    logging.getLogger(__name__).warning("%s is not in %s yet: downloading and preparing it", name, builder.data_path)
    try:
        builder.download_and_prepare()
    except (OSError, AssertionError, ImportError, tfds.download.DownloadError) as error:
        raise InputError(
            f"{name} is not in {builder.data_path} and cannot be prepared: {one_line(error)} Remove the "
            f"cause, or prepare it elsewhere and pass --data_dir. Received: dataset={name!r}"
        ) from error


def _hosts_of(builder: Any) -> list[tuple[str, int]]:
    """(name, port) of the machines from which TFDS downloads a data set; empty where it does not say."""
    places = [urllib.parse.urlsplit(url) for url in getattr(builder, "url_infos", None) or ()]
    ports = {"http": 80, "https": 443}
    found = [(place.hostname, place.port or ports[place.scheme]) for place in places if place.scheme in ports]
    return [(hostname, port) for hostname, port in dict.fromkeys(found) if hostname]


def _has_downloads(builder: Any) -> bool:
    """Whether anything was downloaded before: TFDS then needs no network for it."""
    place = os.path.join(str(getattr(builder, "_data_dir_root", "")), "downloads")
    return any(name.endswith(".INFO") for _, _, names in os.walk(place) for name in names)


def any_answers(hosts: Sequence[tuple[str, int]], seconds: float = 5.0) -> bool:
    """Whether one of some machines can be connected to within a time; a look-up of names knows no limit of its own."""
    answers: queue.Queue[bool] = queue.Queue()

    def ask(host: tuple[str, int]) -> None:
        try:
            socket.create_connection(host, timeout=seconds).close()
            answers.put(True)
        except OSError:
            answers.put(False)

    for host in hosts:
        threading.Thread(target=ask, args=(host,), daemon=True).start()
    until = time.monotonic() + seconds
    try:
        return any(answers.get(timeout=max(0.0, until - time.monotonic())) for _ in hosts)
    except queue.Empty:
        return False


def one_line(error: BaseException) -> str:
    """What an error says, as one line of at most 300 characters that ends in a full stop."""
    text = " ".join(str(error).split())
    return (text if len(text) < 300 else text[:297] + "...").rstrip(".") + "."
