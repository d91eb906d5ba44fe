"""A run's directory: what an earlier command left there, whether this one may go on with it, and how it is kept aside.

Everything here but `begin_run` only reads. With several workers each looks for itself, and all come to the same answer.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import FLAGS_FILE, FOLDER, SHAPES, Durations, ExperimentConfig, resolve_durations
from tf_simclr.config.identity import NETWORK_FLAGS, changes, differences, recorded_flags
from tf_simclr.config.paths import absolute
from tf_simclr.data.source import ImageSource
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import InputError
from tf_simclr.files import write_json
from tf_simclr.train import checkpoints
from tf_simclr.train.checkpoint_files import holds_run, names_in, prefixes_in
from tf_simclr.train.manifest import Manifest, describe_images, read_manifest
from tf_simclr.train.recorded_run import recorded_run_config


@dataclass(frozen=True)
class RunDirectory:
    """What a directory holds of an earlier run.

    Attributes:
        path: of the directory; it need not be there.
        config: what the run was started with; None without flags.json.
        manifest: of its newest checkpoint that can be read; None without one, or from an older version.
        done: steps of the same checkpoint; 0 without one.
        holds_run: whether there is anything that another run must not mix with.
    """

    path: str
    config: ExperimentConfig | None = None
    manifest: Manifest | None = None
    done: int = 0
    holds_run: bool = False


def look_into(path: str) -> RunDirectory:
    """Reads what is in a directory.

    Raises:
        InputError: a flags.json that cannot be read.
    """
    config = recorded_run_config(path)
    done, manifest = _newest_readable(prefixes_in(path))
    return RunDirectory(path, config, manifest, done, holds_run=holds_run(path))


def _newest_readable(prefixes: list[str]) -> tuple[int, Manifest | None]:
    """Step and manifest of the newest checkpoint that can be read; 0 and None without any."""
    for prefix in reversed(prefixes):
        try:
            checkpoints.require_undamaged(prefix)
            return checkpoints.step_of(prefix), read_manifest(prefix)
        except checkpoints.UnreadableError:
            continue  # restoring says so, and passes it over as well
    return 0, None


def require_same_run(
    found: RunDirectory, config: ExperimentConfig, source: ImageSource, durations: Durations
) -> list[str]:
    """Checks that a command goes on with the run of its directory.

    Args:
        found: in the directory.
        config: of the command.
        source: its training split.
        durations: its lengths.

    Returns:
        lines that a person should see: what has changed of what may.

    Raises:
        InputError: the command would make another run of it, with the list of what differs.
    """
    if not found.holds_run:
        return []
    if found.config is None:
        if not found.done:
            return []
        return [f"{found.path} holds checkpoints without {FLAGS_FILE}: the run resumes if the newest fits these flags"]
    other = differences(found.config, config)
    images, notes = compare_images(found, config, source)
    other += images
    if other:
        raise InputError(
            f"`model_dir` holds another run: {'; '.join(other)}. Received: model_dir={found.path}. Pass another "
            "--model_dir, or --overwrite to start anew and keep the old directory aside"
        )
    return [*changes(found.config, config), *notes, *_compare_lengths(found, config, source, durations)]


def require_same_network(found: RunDirectory, config: ExperimentConfig) -> None:
    """Checks that an evaluation takes the network of the run in the directory.

    Raises:
        InputError: flags that describe another one.
    """
    other = differences(found.config, config, NETWORK_FLAGS) if found.config is not None else []
    if other:
        raise InputError(
            f"`mode` eval evaluates the network of the run in {found.path}. Received: {'; '.join(other)}. Leave these "
            "flags out"
        )


def require_own_images(found: RunDirectory, config: ExperimentConfig, source: ImageSource) -> list[str]:
    """Checks that an evaluation which writes into a run's directory reads the folder or data set of the run.

    Args:
        found: in the directory.
        config: of the command.
        source: its training split.

    Returns:
        lines that a person should see: what has changed of these images.

    Raises:
        InputError: they are other images, whose figures would take the place of the run's own.
    """
    if found.config is None:
        return []
    other, notes = differences(found.config, config, ["dataset"]), list[str]()
    if not other:
        other, notes = compare_images(found, config, source)
    if other:
        place = "" if config.data.data_dir is None else f" --data_dir={config.data.data_dir}"
        raise InputError(
            f"`mode` eval evaluates the run in {found.path} on its own data, and keeps the figures there. Received: "
            f"{'; '.join(other)}. For other images: python -m tf_simclr evaluate --checkpoint={found.path} "
            f"--dataset={config.data.dataset}{place}"
        )
    return notes


def compare_images(found: RunDirectory, config: ExperimentConfig, source: ImageSource) -> tuple[list[str], list[str]]:
    """What is different of the training images: (differences that make another run, lines to show).

    A folder may move, and images may come and go in it. Another folder is another run.
    """
    assert found.config is not None
    was = found.manifest.images if found.manifest is not None else {}
    now = describe_images(source)
    old_place = was.get("location") or absolute(found.config.data.data_dir)
    new_place = now["location"] or absolute(config.data.data_dir)
    moved = old_place != new_place and config.data.dataset != SHAPES
    if not was:  # from a version without manifests: the flag is all that is known
        other = moved and config.data.dataset == FOLDER
        return [f"--data_dir was {old_place}, is {new_place}"] * other, []
    counts = f"{was['examples']} training images then, {now['examples']} now"
    if moved:
        known = next((name for name in ("contents", "files") if was.get(name) and now[name]), "examples")
        if was[known] != now[known]:
            others = f"{now['examples']} other images" if was["examples"] == now["examples"] else counts
            return [f"--data_dir was {old_place}, is {new_place} ({others})"], []
        notes = [f"the same images are read from {new_place}; until now they were in {old_place}"]
        if known == "files":
            notes.append(
                "an earlier version wrote the checkpoints, without the sizes of the files: only their names and their "
                "number say that they are the same images"
            )
        return [], notes
    if was["examples"] != now["examples"] or was["files"] != now["files"]:
        return [], [f"the training images are no longer those that the run began with: {counts}"]
    if was["fingerprint"] and now["fingerprint"] and was["fingerprint"] != now["fingerprint"]:
        return [], ["files of the training images have changed since the last checkpoint (size, time or label)"]
    return [], []


def _compare_lengths(
    found: RunDirectory, config: ExperimentConfig, source: ImageSource, durations: Durations
) -> list[str]:
    """What a changed length means.

    Raises:
        InputError: it is less than is done.
    """
    assert found.config is not None
    before = resolve_durations(found.config, source.num_examples).train_steps
    if before == durations.train_steps:
        return []
    if durations.train_steps < found.done:
        name = "train_steps" if config.train.train_steps else "train_epochs"
        raise InputError(
            f"`{name}` must be at least the {found.done} steps that the run in {found.path} has done. Received: {name}="
            f"{getattr(config.train, name):g} ({durations.train_steps} steps). Train longer, pass another --model_dir, "
            "or --overwrite to start anew and keep the old directory aside"
        )
    return [
        f"the run was to take {before} steps and now takes {durations.train_steps}: from step {found.done} on, the "
        "learning rate follows the schedule of the new length"
    ]


def begin_run(config: ExperimentConfig, *, overwrite: bool = False, lock: DirectoryLock | None = None) -> str | None:
    """Makes the run's directory with its flags.json: the first thing that a run writes; call it after every check.

    Args:
        config: of the run.
        overwrite: whether what is in the directory now is kept aside.
        lock: of the directory, which is taken; None takes none.

    Returns:
        where it was kept; None where nothing was.

    Raises:
        InputError: it cannot be renamed, or another process works in it.
    """
    directory = config.runtime.directory
    if overwrite and lock is not None:
        lock.require_free()
    kept = set_aside(directory) if overwrite and names_in(directory) else None
    if lock is not None:
        lock.acquire()
    tf.io.gfile.makedirs(directory)
    write_json(os.path.join(directory, FLAGS_FILE), recorded_flags(config))
    return kept


def set_aside(directory: str) -> str:
    """Renames a directory to one beside it, named after the time; returns the new path.

    Raises:
        InputError: it cannot be renamed.
    """
    place = directory.rstrip("/") if "://" in directory else os.path.normpath(directory)
    base = f"{place}.replaced-{time.strftime('%Y%m%d-%H%M%S')}"
    target = next(path for path in _numbered(base) if not tf.io.gfile.exists(path))
    try:
        tf.io.gfile.rename(place, target)
    except tf.errors.OpError as error:
        raise InputError(
            f"`overwrite` could not rename {place} to {target}: {' '.join(str(error).split())}. Received: model_dir="
            f"{directory}. Rename it yourself, or pass another --model_dir"
        ) from error
    return target


def _numbered(base: str) -> Any:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1
