"""Images a second that are read from a prepared folder, beside the same images as loose files.

    python -m benchmarks.prepared
    python -m benchmarks.prepared --images 20000 --cold --repeats 9 --json prepared.json

Three folders hold the same photographs: the originals, one file each; what `prepare` makes of them; and what it stores,
one file each. In the table "ours" is always the prepared folder, streamed and not held in memory. "Plain" is the
originals, or the stored images as files, which leaves the number of files as the only difference. Reading takes the
bytes alone; views are those of a training. Both sides run in turn, in one process on all of its cores. With --cold,
files are dropped from the memory of the operating system before each measurement, as far as it complies.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.alternate import Comparison, Rate, compare, rate, table
from tf_simclr.data.folder_source import folder_source
from tf_simclr.data.folder_splits import whole_folder
from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.request import SplitRequest
from tf_simclr.data.shard_source import shard_source
from tf_simclr.data.source import ImageSource
from tf_simclr.data.views import ViewPolicy
from tf_simclr.files import to_json, write_whole
from tf_simclr.tasks import prepare

ORIGINALS, PREPARED, STORED = "originals", "prepared", "stored"
QUALITY = 92


def main() -> None:
    """Prints the table, and writes the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--long_side", type=int, default=1600, help="of the originals, in pixels")
    parser.add_argument("--side", type=int, default=256, help="of what is prepared")
    parser.add_argument("--image_size", type=int, default=224, help="of the views")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", nargs="+", choices=("reading", "views"), default=("reading", "views"))
    parser.add_argument("--cold", action="store_true", help="drop the files from memory before each measurement")
    parser.add_argument("--directory", help="where the folders are made, such as a slow disk; else a temporary one")
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        folders = {name: os.path.join(place, name) for name in (ORIGINALS, PREPARED, STORED)}
        write_originals(folders[ORIGINALS], options.images, options.long_side)
        prepare(data_dir=folders[ORIGINALS], out=folders[PREPARED], side=options.side)
        write_stored(streamed(folders[PREPARED]), folders[STORED])
        sizes = {name: sum(file.stat().st_size for file in files_in(folder)) for name, folder in folders.items()}
        results = list(measured(folders, options))
    print(", ".join(f"{name}: {size / 1e6:,.0f} MB" for name, size in sizes.items()))
    print(table(results))
    if options.json:
        facts = {"cores": len(os.sched_getaffinity(0)), "tensorflow": tf.__version__, "load": os.getloadavg()[0]}
        values = {"setting": vars(options) | facts, "bytes": sizes, "results": list(map(dataclasses.asdict, results))}
        write_whole(options.json, to_json(values, indent=2).encode())


# ---- Data ----


def write_originals(folder: str, count: int, long_side: int) -> None:
    """Parts of two photographs, JPEG, in one class folder each."""
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    generator = np.random.default_rng(0)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        left, top = generator.integers(0, 60, 2).tolist()
        part = photograph.crop((left, top, photograph.width - 60 + left, photograph.height - 60 + top))
        path = Path(folder, f"class{number % 2}", f"{number:06}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (long_side, long_side * part.height // part.width)
        part.resize(size, Image.Resampling.BICUBIC).save(path, "JPEG", quality=QUALITY)


def write_stored(source: ImageSource, folder: str) -> None:
    """What a prepared folder stores of each image, as a file."""
    for record in source.records(None).as_numpy_iterator():
        content, path = record["data"]
        place = Path(folder, os.fsdecode(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def streamed(folder: str) -> ImageSource:
    """All images of a folder, none of them in memory."""
    layout = whole_folder(SplitRequest(data_dir=folder))
    listed = ListedSplit(layout.root, "all", layout.read(""))
    return folder_source(listed) if listed.listing.shards is None else shard_source(listed, memory_budget=0)


def files_in(folder: str) -> list[Path]:
    """All files below a folder."""
    return [path for path in Path(folder).rglob("*") if path.is_file()]


# ---- Measurements ----


def measured(folders: dict[str, str], options: argparse.Namespace) -> list[Comparison]:
    """The prepared folder beside each of the others, by reading and by views."""

    def side(name: str, work: Callable[[ImageSource], int]) -> Callable[[], Rate]:
        source, files = streamed(folders[name]), files_in(folders[name])

        def once() -> Rate:
            if options.cold:
                forget(files)
            return rate(lambda: work(source))

        return once

    def views(source: ImageSource) -> int:
        policy, steps = ViewPolicy(image_size=options.image_size), max(1, options.images // options.batch)
        return made(train_batches(source, policy=policy, batch_size=options.batch, seed=0), steps) * options.batch

    return [
        compare(f"{what}, {name} as files", side(PREPARED, work), side(name, work), options.repeats)
        for what, work in (("reading", read), ("views", views))
        if what in options.work
        for name in (ORIGINALS, STORED)
    ]


def read(source: ImageSource) -> int:
    """Reads the bytes of every image once, in a random order; returns how many images there are."""

    def size(record: dict[str, tf.Tensor]) -> tf.Tensor:
        data = record["data"] if source.read is None else source.read(record["data"])
        return tf.strings.length(data[0])

    sizes = source.records(1).map(size, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return sum(1 for _ in sizes.as_numpy_iterator())


def made(batches: tf.data.Dataset, steps: int) -> int:
    """Takes so many batches; returns how many it took."""
    return sum(1 for _ in batches.take(steps))


def forget(files: list[Path]) -> None:
    """Asks the operating system to keep no copy of files in memory."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
