"""Lists a folder, writes its images as records, and says what was done. TensorFlow is imported after the checks."""

from __future__ import annotations

import collections
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tf_simclr import __version__
from tf_simclr.cli.main import say
from tf_simclr.config import DataConfig
from tf_simclr.config.beam import BeamConfig
from tf_simclr.config.paths import absolute, is_remote
from tf_simclr.config.prepare import PrepareConfig
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.listing import ListedSplit, Listing
from tf_simclr.data.prepared import PREPARED_FILE, Preparation, Prepared, fingerprint_of, is_prepared, open_prepared
from tf_simclr.data.prepared_list import CHANGES, ENCODED, KEPT, REDUCED, StoredImage
from tf_simclr.data.request import request_of
from tf_simclr.data.scan import some
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.escape import as_text
from tf_simclr.train.interrupts import EXIT_CODES, StopRequest

if TYPE_CHECKING:
    from tf_simclr.data.prepare_images import Shrunk

# What workers read and write while the directory is being made.
BLOCKS = "blocks"


@dataclass(frozen=True)
class PrepareResult:
    """What a preparation left.

    Attributes:
        directory: the prepared folder.
        images: number of images in it.
        reduced: how many of them were reduced.
        damaged: paths of those that were left out.
        exit_code: of the program that does the same; 0 where all went well.
    """

    directory: str
    images: int = 0
    reduced: int = 0
    damaged: tuple[str, ...] = ()
    exit_code: int = 0


def run(wanted: PrepareConfig, data: DataConfig, command: str, beam: BeamConfig) -> PrepareResult:
    """Prepares a folder.

    Raises:
        InputError: what a person can fix. Nothing is left in the directory then.
    """
    assert wanted.out is not None
    out = os.path.normpath(absolute(wanted.out))
    _require_place(wanted.out, data.data_dir)
    if beam.used:
        from tf_simclr.cli.beam import options_of

        options_of(beam)  # before the folder is listed
    layout = whole_folder(request_of(data, eval_split=None))
    listings = {split: layout.read(split) for split in layout.splits or ("",)}
    fingerprint = fingerprint_of(layout.root, listings)
    preparation = Preparation(layout.root, fingerprint, wanted.side, data.decoder)
    before = _prepared_before(out, preparation)
    if before is not None:
        say(f"{out} is this folder already, prepared in the same way: nothing to do")
        return _result(out, before, before.images)
    for note in dict.fromkeys((*layout.notes, *(note for one in listings.values() for note in one.notes))):
        say(f"note: {note}")
    began, stop = time.monotonic(), StopRequest()
    try:
        with stop.watch(), stop.at_once():
            prepared, images = _written(listings, preparation, out, command, beam)
    except StoppedError:
        name = stop.signal_name or "SIGTERM"
        say(f"{name} received: nothing is written to {out}; run the same command again")
        return PrepareResult(out, exit_code=EXIT_CODES[name])
    _say_what_was_done(prepared, images, out, time.monotonic() - began)
    return _result(out, prepared, images)


def _require_place(out: str, data_dir: str | None) -> None:
    if is_remote(out):
        raise InputError(
            f"`out` must be a local directory. Received: out={out}. Pass another --out, and copy the directory "
            "afterwards"
        )
    place, folder = os.path.realpath(out), os.path.realpath(data_dir or os.devnull)
    if f"{place}/".startswith(f"{folder}/"):
        raise InputError(
            f"`out` must lie outside of the folder of images. Received: out={out}, data_dir={data_dir}. Pass another "
            "--out"
        )
    for above in Path(place).parents:
        if above.exists() and not above.is_dir():
            raise InputError(
                f"`out` must lie in a directory. Received: out={out}, where {above} is a file. Pass another --out"
            )


def _prepared_before(out: str, preparation: Preparation) -> Prepared | None:
    """The same preparation where it is there already; None where there is nothing.

    Raises:
        InputError: there is something else.
    """
    if not os.path.lexists(out) or (os.path.isdir(out) and not os.listdir(out)):
        return None
    what = "which exists"
    if is_prepared(out):
        before = open_prepared(out)
        if before.preparation.same_as(preparation):
            return before
        what = "which was prepared from other images, or in another way"
    raise InputError(f"`out` must be a new directory. Received: out={out}, {what}. Pass another --out, or remove it")


def _written(
    listings: dict[str, Listing], preparation: Preparation, out: str, command: str, beam: BeamConfig
) -> tuple[Prepared, list[StoredImage]]:
    # These import TensorFlow, which takes seconds.
    from tf_simclr.cli.task import TerminalReporter, named_images
    from tf_simclr.data.prepare_images import write_prepared
    from tf_simclr.interop.new_directory import whole_directory

    written_by = {"tf_simclr": __version__, "command": command, "date": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    with named_images(), TerminalReporter().counting("images prepared") as progress, whole_directory(out) as partial:
        shrunk = _on_runner(beam, preparation.side, os.path.join(partial, BLOCKS)) if beam.used else None
        return write_prepared(
            listings, preparation, partial, progress=progress, shrunk=shrunk, extra={"written_by": written_by}
        )


def _on_runner(beam: BeamConfig, side: int, directory: str) -> Shrunk:
    from tf_simclr.cli.beam import shrunk_on

    def shrunk(listed: ListedSplit) -> Iterator[tuple[bytes, int]]:
        say(f"the workers of --runner={beam.runner} reduce {listed.num_examples:,} images")
        os.makedirs(directory)
        yield from shrunk_on(beam, listed, side=side, prefix=os.path.join(directory, "block-"))
        shutil.rmtree(directory)

    return shrunk


def _say_what_was_done(prepared: Prepared, images: list[StoredImage], out: str, seconds: float) -> None:
    counts = collections.Counter(image.change for image in images)
    words = {KEPT: "as they were", REDUCED: "reduced", ENCODED: "encoded anew"}
    done = ", ".join(f"{counts[change]:,} {words[change]}" for change in CHANGES if counts[change])
    size = sum(prepared.files.values())
    say(f"{len(images):,} images in {out}: {done}; {size / 1e6:,.1f} MB, {seconds:.0f} s")
    if prepared.damaged:
        names = some(map(as_text, prepared.damaged), 10)
        say(f"{len(prepared.damaged):,} damaged images are left out, {PREPARED_FILE} lists them: {names}")
    say(f"every task reads {out} in place of the folder")


def _result(out: str, prepared: Prepared, images: list[StoredImage]) -> PrepareResult:
    reduced = sum(image.change == REDUCED for image in images)
    return PrepareResult(out, len(images), reduced, prepared.damaged)
