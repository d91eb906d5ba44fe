"""How time and memory grow: with the files of a folder, the batch, the size of images, the depth, and the replicas.

    python -m benchmarks.growth  # all five; 1,000,000 files take minutes to make
    python -m benchmarks.growth --of files --files 1000 10000 100000
    python -m benchmarks.growth --of batch depth --repeats 5 --json growth.json

Each row is a process of its own. `files` is the time from the flags to the first batch of a folder's images, and what
it adds to the process's memory. The files are hard links to 200 images. The others are the median time of a training
step after the first, and the peak of the whole process. The exponent is the slope of a line through the logarithms: 1
is proportional. It is fitted to time, and to memory.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.alternate import Spread
from tf_simclr.files import to_json, write_whole

CLASSES, GROUPS, SIDE = 10, 20, 32
# A step of the base: ResNet-18 x0.25 at 32 pixels.
_BASE = {
    "dataset": "shapes",
    "image_size": 32,
    "train_batch_size": 64,
    "resnet_depth": 18,
    "width_multiplier": 0.25,
    "stem": "cifar",
    "use_blur": False,
    "warmup_epochs": 0,
}


@dataclasses.dataclass(frozen=True)
class Axis:
    """What grows.

    Attributes:
        unit: of the numbers.
        values: the default ones.
        flags: of a run, by a value; {} where the growth is not that of a step.
    """

    unit: str
    values: tuple[int, ...]
    flags: dict[str, Any]

    def of(self, value: int) -> dict[str, Any]:
        """The flags of one row: None stands for the value."""
        return {name: value if one is None else one for name, one in self.flags.items()}


AXES = {
    "files": Axis("files", (1_000, 10_000, 100_000, 1_000_000), {}),
    "batch": Axis("images", (64, 256, 1024, 4096), _BASE | {"train_batch_size": None, "micro_batch_size": 64}),
    "size": Axis("px", (32, 64, 128, 224), _BASE | {"image_size": None, "train_batch_size": 16}),
    "depth": Axis("layers", (18, 34, 50, 101, 152), _BASE | {"resnet_depth": None}),
    "replicas": Axis("replicas", (1, 2, 4), _BASE | {"cpu_devices": None}),
}


def main() -> None:
    """Prints a table of each axis, and writes the numbers where asked."""
    options = parsed()
    if options.row:
        axis, value = options.row
        print(json.dumps(measure(axis, int(value), options), allow_nan=False))
        return
    found: dict[str, Any] = {}
    for name in options.of:
        values = (options.files or AXES[name].values) if name == "files" else AXES[name].values
        print(f"\n| {AXES[name].unit} | seconds | memory, MiB |\n|---|---|---|")
        rows = [apart(name, value) for value in values]
        found[name] = {"rows": rows, "exponents": exponents(rows)}
        print("exponent: " + ", ".join(f"{key} {value:.2f}" for key, value in found[name]["exponents"].items()))
    if options.json:
        facts = {"command": sys.argv[1:], "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
        write_whole(options.json, to_json({"setting": facts, "results": found}, indent=2).encode())


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", nargs="+", default=list(AXES), choices=list(AXES), help="what grows")
    parser.add_argument("--files", nargs="+", type=int, help="numbers of files")
    parser.add_argument("--repeats", type=int, default=5, help="steps, or starts, of a row")
    parser.add_argument("--json", help="file for the numbers")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)  # what a process of its own measures
    return parser.parse_args()


def apart(name: str, value: int) -> dict[str, Any]:
    """A row, by a process of its own; prints it."""
    command = [sys.executable, "-m", "benchmarks.growth", *sys.argv[1:], "--row", name, str(value)]
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ).stdout
    row = json.loads(output.strip().splitlines()[-1])
    print(f"| {value:,} | {Spread(**row['seconds'])} | {row['mebibytes']:,.0f} |", flush=True)
    return row


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The slopes of time and memory against the value, in logarithms."""
    values = np.log([row["value"] for row in rows])
    columns = {"time": [row["seconds"]["median"] for row in rows], "memory": [row["mebibytes"] for row in rows]}
    return {name: float(np.polyfit(values, np.log(column), 1)[0]) for name, column in columns.items()}


def measure(axis: str, value: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row: seconds and MiB."""
    seconds, mebibytes = (
        starts(value, options.repeats) if axis == "files" else steps(AXES[axis].of(value), options.repeats)
    )
    return {"value": value, "seconds": dataclasses.asdict(Spread.of(seconds)), "mebibytes": mebibytes}


def peak_mebibytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


# ---- Files ----


@contextlib.contextmanager
def folder_of(number: int) -> Iterator[str]:
    """A folder CLASS/image.png of that many files."""
    from PIL import Image

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for label in range(CLASSES):
            os.mkdir(os.path.join(folder, f"class{label}"))
        for place in range(number):
            path = os.path.join(folder, f"class{place % CLASSES}", f"{place:07d}.png")
            # 20 originals a class: links to one image stay in one split, and each split needs some.
            if place < CLASSES * GROUPS:
                Image.fromarray(generator.integers(0, 256, [SIDE, SIDE, 3], dtype=np.uint8)).save(path)
            else:
                os.link(os.path.join(folder, f"class{place % CLASSES}", f"{place % (CLASSES * GROUPS):07d}.png"), path)
        yield folder


def starts(number: int, repeats: int) -> tuple[list[float], float]:
    """Seconds to the first batch of a folder, and the MiB that this adds."""
    import tensorflow as tf

    from tf_simclr.config import build_config
    from tf_simclr.train.build import build_data
    from tf_simclr.train.input import build_train_iterator

    seconds = []
    with folder_of(number) as folder:
        tf.random.stateless_uniform([1], [0, 0]).numpy()  # the library is up
        before = peak_mebibytes()
        config = build_config(_BASE | {"dataset": "folder", "data_dir": folder})
        for _ in range(repeats):
            began = time.perf_counter()
            source = build_data(config).train
            next(build_train_iterator(config, source, tf.distribute.get_strategy(), 0))
            seconds.append(time.perf_counter() - began)
    return seconds, peak_mebibytes() - before


# ---- Steps ----


def steps(flags: dict[str, Any], repeats: int) -> tuple[list[float], float]:
    """Seconds of a step on a fixed batch, and the MiB of the process."""
    import tensorflow as tf

    from tf_simclr.config import Durations, build_config
    from tf_simclr.train.build import build_train_state
    from tf_simclr.train.strategy import build_strategy, choose_strategy, distribute
    from tf_simclr.train.train_function import build_train_function

    config = build_config(flags | ({"strategy": "mirrored"} if flags.get("cpu_devices", 1) > 1 else {}))
    strategy, _ = build_strategy(config.runtime, choose_strategy(config.runtime))
    side, batch = config.data.image_size, config.data.train_batch_size

    def part(context: tf.distribute.InputContext) -> tf.data.Dataset:
        n = context.get_per_replica_batch_size(batch)
        views = tuple(tf.random.stateless_uniform([n, side, side, 3], [view, 0]) for view in (0, 1))
        return tf.data.Dataset.from_tensors({"views": views, "label": tf.range(n, dtype=tf.int64) % 10}).repeat()

    with strategy.scope():
        state = build_train_state(config, Durations(10_000, 1, 100, 100), num_classes=10)
    train = build_train_function(strategy, state.step)
    iterator = iter(distribute(strategy, part))
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        metrics, _ = train(iterator, tf.constant(1))
        for value in metrics.values():
            value.numpy()
        seconds.append(time.perf_counter() - began)
    return seconds[1:], peak_mebibytes()


if __name__ == "__main__":
    main()
