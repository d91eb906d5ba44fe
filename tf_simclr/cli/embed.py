"""Opens what embedding needs, brings the index up to date, and says what was done."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr import __version__
from tf_simclr.cli.main import say
from tf_simclr.cli.task import TerminalReporter, build_own_strategy, named_images
from tf_simclr.config import FOLDER, DataConfig, EmbedConfig, RuntimeConfig
from tf_simclr.config.beam import BeamConfig
from tf_simclr.config.paths import absolute
from tf_simclr.data.listing import ListedSplit
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import InputError, StoppedError, require_choice
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import endpoint_names
from tf_simclr.evaluate.features import model_digest
from tf_simclr.evaluate.load import load_trained
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.embedding import Elsewhere, Embedding, embed
from tf_simclr.index.images import Part, open_parts
from tf_simclr.index.pieces import Pieces
from tf_simclr.index.shards import EMPTY_FILE, merge, shard_directory
from tf_simclr.index.store import Identity, Index, require_local
from tf_simclr.index.tables import require_parquet, write_parquet
from tf_simclr.train.interrupts import StopRequest, exit_code_of
from tf_simclr.train.strategy import per_replica_batch


@dataclass(frozen=True)
class EmbedResult:
    """What embedding left.

    Attributes:
        directory: of the index, or of the shard.
        rows: images in it.
        computed: images whose features were computed now.
        exit_code: of the program that does the same; 0 where all went well.
    """

    directory: str
    rows: int = 0
    computed: int = 0
    exit_code: int = 0


def run(wanted: EmbedConfig, data: DataConfig, runtime: RuntimeConfig, command: str, beam: BeamConfig) -> EmbedResult:
    """Brings an index up to date with its images.

    Raises:
        InputError: what a person can fix, before any long work starts.
    """
    assert wanted.out is not None and wanted.checkpoint is not None
    number, shards = wanted.division
    out = shard_directory(wanted.out, number, shards) if wanted.shard else wanted.out
    require_local(out)
    require_apart(wanted.out, data.data_dir)
    if beam.used:
        _require_pipeline(beam, data)
    if wanted.parquet:
        require_parquet()
    began, stop = time.monotonic(), StopRequest()
    with stop.watch(), named_images():
        try:
            with stop.at_once():
                found = _embedded(wanted, data, runtime, command, out, beam)
                if found is None:
                    say(f"none of the images belongs to shard {wanted.shard}")
                    return EmbedResult(out)
        except StoppedError:
            name, code = exit_code_of(stop)
            say(f"{name} received: the features that were computed are kept in {out}; run the same command to go on")
            return EmbedResult(out, exit_code=code)
    _say_what_was_done(found, time.monotonic() - began)
    _finish(found.index, wanted)
    return EmbedResult(out, len(found.index.rows), found.computed)


def require_apart(out: str, data_dir: str | None) -> None:
    """Raises InputError for an index inside the folder of images, where it would count as one of the classes."""
    place, folder = os.path.realpath(out), os.path.realpath(data_dir or os.devnull)
    if f"{place}/".startswith(f"{folder}/"):
        raise InputError(
            f"`out` must lie outside of the folder of images. Received: out={out}, data_dir={data_dir}. Pass another "
            "--out"
        )


def merge_shards(wanted: EmbedConfig, command: str) -> EmbedResult:
    """Makes one index of all shards."""
    assert wanted.out is not None
    require_local(wanted.out)
    if wanted.parquet:
        require_parquet()
    with DirectoryLock(wanted.out, say):
        index, shards = merge(wanted.out, _written_by(command))
    say(f"{len(index.rows):,} images of {shards} shards are in {wanted.out}; the shards can be removed")
    _finish(index, wanted)
    return EmbedResult(wanted.out, len(index.rows))


def _require_pipeline(beam: BeamConfig, data: DataConfig) -> None:
    """Raises InputError where workers cannot read the images, or Apache Beam does not take its options."""
    from tf_simclr.cli.beam import options_of

    if data.dataset != FOLDER:
        raise InputError(
            f"`runner` needs a folder of images, whose files workers share. Received: dataset={data.dataset}, "
            f"runner={beam.runner}. Pass --data_dir=FOLDER, or leave --runner out"
        )
    options_of(beam)


def _embedded(
    wanted: EmbedConfig, data: DataConfig, runtime: RuntimeConfig, command: str, out: str, beam: BeamConfig
) -> Embedding | None:
    """None for an empty shard, which is marked as such."""
    strategy, chosen = build_own_strategy(runtime, "images are embedded")
    per_replica_batch("eval_batch_size", data.eval_batch_size, strategy)
    with strategy.scope():
        trained = load_trained(wanted.checkpoint or "")
    require_choice("endpoint", wanted.endpoint, endpoint_names(trained.model))
    parts = _parts(wanted, data)
    images = sum(len(part.rows) for part in parts)
    say(f"TensorFlow {tf.__version__} on {chosen}; {images:,} images, index in {out}")
    if wanted.shard and not images:
        os.makedirs(out, exist_ok=True)
        file_system_of(out).write(os.path.join(out, EMPTY_FILE), b"")
        return None
    identity = Identity(
        network=model_digest(trained.model),
        endpoint=wanted.endpoint,
        image_size=data.image_size,
        reading=data.reading,
        dtype=wanted.index_type,
        dataset=data.dataset,
        data_dir=data.data_dir or "",
    )
    loader, checkpoint = EvalLoader.of(data, strategy), absolute(trained.prefix)
    elsewhere = _on_runner(beam, identity, loader, checkpoint, runtime) if beam.used else None
    with DirectoryLock(out, say), TerminalReporter().counting("images embedded") as progress:
        return embed(
            trained.model,
            loader,
            parts,
            out,
            identity,
            progress=progress,
            elsewhere=elsewhere,
            checkpoint=checkpoint,
            shard=wanted.shard,
            written_by=_written_by(command),
        )


def _on_runner(
    beam: BeamConfig, identity: Identity, loader: EvalLoader, checkpoint: str, runtime: RuntimeConfig
) -> Elsewhere:
    from tf_simclr.cli.beam import embed_on
    from tf_simclr.index.block_embedding import EmbeddingWork

    work = EmbeddingWork(checkpoint, identity, loader.batch_size, loader.eval_crop, runtime)

    def elsewhere(files: list[ListedSplit], pieces: Pieces) -> None:
        say(f"the workers of --runner={beam.runner} embed {sum(part.num_examples for part in files):,} images")
        embed_on(beam, work, files, pieces)

    return elsewhere


def _parts(wanted: EmbedConfig, data: DataConfig) -> list[Part]:
    """The images, checked and described."""
    parts = open_parts(data, wanted.splits)
    for note in dict.fromkeys(note for part in parts for note in part.notes):
        say(f"note: {note}")
    number, shards = wanted.division
    if wanted.shard:
        parts = [part.shard(number, shards) for part in parts]
    return parts


def _written_by(command: str) -> dict[str, Any]:
    return {"tf_simclr": __version__, "command": command, "date": time.strftime("%Y-%m-%d %H:%M:%S %z")}


def _say_what_was_done(found: Embedding, seconds: float) -> None:
    counts = {"computed now": found.computed, "kept": found.reused, "dropped": found.dropped}
    counts |= {"left out because they cannot be decoded": found.left_out}
    shown = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    say(f"{len(found.index.rows):,} images of {found.index.features.shape[1]} numbers each: {shown}; {seconds:.0f} s")


def _finish(index: Index, wanted: EmbedConfig) -> None:
    if wanted.parquet:
        say(f"written for other programs: {write_parquet(index)}")
