"""Images a second that `embed` stores features of, beside a bare forward pass, and beside a loop that decodes.

    python -m benchmarks.embedding
    python -m benchmarks.embedding --image_size=224 --file_side=224 --resnet_depth=50 --images=256 --start=64

Images are random PNG files of --file_side pixels. Ours is all that `embed` does with a network and a folder once both
are open: tracing, reading, decoding and resizing files, the forward pass, and writing the index. Plain is the same
compiled forward pass: in the first row alone, traced and over batches that lie ready in memory; in the second traced
anew, over batches that TensorFlow's own operations read from the same files. All run in one process, in turn. The
table has medians, and in brackets the least and the most.

With --start=N each measurement is the difference between all images and N of them. What is paid once a run, as tracing,
is not in it then.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.alternate import Comparison, Rate, comparison, in_turn, rate, table
from tf_simclr.config import ExperimentConfig, build_config
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract
from tf_simclr.files import to_json, write_whole
from tf_simclr.index.embedding import embed
from tf_simclr.index.images import open_parts
from tf_simclr.index.store import Identity
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import build_networks

ENDPOINT = "final_avg_pool"


def main() -> None:
    """Prints the table, and writes the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16384)
    parser.add_argument("--file_side", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--resnet_depth", type=int, default=18)
    parser.add_argument("--width_multiplier", type=float, default=1.0)
    parser.add_argument("--start", type=int, default=0, help="images whose cost is taken off, and start-up with it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="where to write the numbers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for number in filter(None, (options.images, options.start)):
            write_images(os.path.join(root, f"images-{number}"), number, options.file_side)
        found = compared(options, root)
    print(table(found))
    if options.json:
        values = {"command": vars(options), "results": [dataclasses.asdict(one) for one in found]}
        write_whole(options.json, to_json(values, indent=2).encode())


def compared(options: argparse.Namespace, root: str) -> list[Comparison]:
    """`embed`, the bare forward pass, and the loop that decodes as well, in turn."""
    config, *of_start = (
        _config(options, os.path.join(root, f"images-{number}"))
        for number in filter(None, (options.images, options.start))
    )
    strategy = tf.distribute.OneDeviceStrategy("CPU:0" if not tf.config.list_physical_devices("GPU") else "GPU:0")
    with strategy.scope():
        model = build_networks(config, 0)
    loader = EvalLoader.of(config.data, strategy)
    work = (
        f"ResNet-{options.resnet_depth} x{options.width_multiplier:g}, {options.images} files of {options.file_side} "
        f"px at {options.image_size} px"
    )
    sides = (
        _after_start(lambda one: embedded(model, loader, one, root), config, *of_start),
        forward_pass(model, loader, config),
        _after_start(lambda one: decoding_loop(model, one), config, *of_start),
    )
    rounds = in_turn(sides, options.repeats)
    return [
        comparison(f"{work}: beside the forward pass", [(ours, forward) for ours, forward, _ in rounds]),
        comparison(f"{work}: beside a loop that traces and decodes", [(ours, loop) for ours, _, loop in rounds]),
    ]


def _config(options: argparse.Namespace, folder: str) -> ExperimentConfig:
    return build_config(
        {
            "dataset": "folder",
            "data_dir": folder,
            "image_size": options.image_size,
            "eval_batch_size": options.batch,
            "resnet_depth": options.resnet_depth,
            "width_multiplier": options.width_multiplier,
        }
    )


def _after_start(
    work: Callable[[ExperimentConfig], int], config: ExperimentConfig, of_start: ExperimentConfig | None = None
) -> Callable[[], Rate]:
    """The rate of some work; with a second folder, of what the first has more of it."""
    if of_start is None:
        return lambda: rate(lambda: work(config))

    def measured() -> Rate:
        counts, clocks = [], [(time.perf_counter(), time.process_time())]
        for one in (of_start, config):
            counts.append(work(one))
            clocks.append((time.perf_counter(), time.process_time()))
        (first, first_cpu), (second, second_cpu) = np.diff(clocks, axis=0)
        more = counts[1] - counts[0]
        return Rate(more / (second - first), (second_cpu - first_cpu) / more)

    return measured


def embedded(model: SimCLRModel, loader: EvalLoader, config: ExperimentConfig, root: str) -> int:
    """Writes an index of all images anew; returns how many."""
    parts = open_parts(config.data, ())
    with tempfile.TemporaryDirectory(dir=root) as out:
        identity = Identity("0" * 64, ENDPOINT, loader.image_size, {}, "float32", "folder", config.data.data_dir or "")
        return embed(model, loader, parts, out, identity, checkpoint="", written_by={}).computed


def forward_pass(model: SimCLRModel, loader: EvalLoader, config: ExperimentConfig) -> Callable[[], Rate]:
    """The pass over all batches, which are read now."""
    (part,) = open_parts(config.data, ())
    source, rows = part.read(np.arange(len(part.rows)))
    extract = build_extract(model, loader.strategy, (ENDPOINT,))
    batches = list(loader.batches(source))

    def passed() -> int:
        for batch in batches:
            extract(batch)[ENDPOINT].numpy()
        return len(rows)

    return lambda: rate(passed)


def decoding_loop(model: SimCLRModel, config: ExperimentConfig) -> int:
    """Tracing and the pass over the files, as written by hand: no names of damaged files, and nothing stored."""
    paths = sorted(str(path) for path in Path(config.data.data_dir or "").iterdir())
    side = config.data.image_size

    def read(path: tf.Tensor) -> tf.Tensor:
        image = tf.image.convert_image_dtype(tf.io.decode_png(tf.io.read_file(path), 3), tf.float32)
        return tf.ensure_shape(tf.image.resize(image, [side, side], "bicubic", antialias=True), [side, side, 3])

    @tf.function(reduce_retracing=True)
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model.endpoints(images, training=False)[ENDPOINT]

    images = tf.data.Dataset.from_tensor_slices(paths).map(read, tf.data.AUTOTUNE)
    batches = images.batch(config.data.eval_batch_size).prefetch(tf.data.AUTOTUNE)
    return sum(len(forward(batch).numpy()) for batch in batches)


def write_images(folder: str, number: int, side: int) -> None:
    """Random images that compress as drawings do: blocks of one colour."""
    os.makedirs(folder)
    generator = np.random.default_rng(0)
    for place in range(number):
        small = generator.integers(0, 256, [8, 8, 3], np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.NEAREST).save(f"{folder}/{place:06d}.png")


if __name__ == "__main__":
    main()
