"""Peak memory and time of a contrastive step with micro-batches, and what the plain step would need.

    PYTHONPATH=. python benchmarks/micro_batch.py  # ResNet-18, 32 px, N = 4096, m = 128
    PYTHONPATH=. python benchmarks/micro_batch.py --batch=256 --micro=32 --width=0.25  # a small one

Every measurement is a process of its own, whose peak resident memory the kernel reports. The plain step is measured at
small batches only and extrapolated by the line through them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

MEMORY_OF_THE_GOAL = 24.0
PLAIN_BATCHES = (64, 128, 256)


def measure(batch: int, micro: int, arguments: argparse.Namespace) -> None:
    """Takes some steps and prints peak resident memory in GB, and seconds a step, as JSON."""
    import tensorflow as tf

    from tf_simclr.config import Durations, build_config
    from tf_simclr.train.build import build_train_state

    config = build_config(
        {
            "dataset": "shapes",
            "image_size": arguments.size,
            "train_batch_size": batch,
            "resnet_depth": arguments.depth,
            "width_multiplier": arguments.width,
            "micro_batch_size": micro,
            "precision": arguments.precision,
        }
    )
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        state = build_train_state(config, Durations(100, 1, 100, 100), num_classes=10)
    step = tf.function(lambda views, label: strategy.run(state.step, ({"views": views, "label": label},)))
    views = [tf.random.stateless_uniform([batch, arguments.size, arguments.size, 3], [view, 0]) for view in (0, 1)]
    label = tf.zeros([batch], tf.int64)
    seconds = []
    for _ in range(arguments.steps + 1):  # the first one also traces
        began = time.perf_counter()
        float(step(views, label)["train/total_loss"])
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"gigabytes": peak, "seconds": float(np.median(seconds[1:] or seconds))}, allow_nan=False))


def in_a_process(batch: int, micro: int) -> dict[str, float]:
    """`measure` in a fresh process; prints the line of the table."""
    command = [sys.executable, *sys.argv, f"--batch={batch}", f"--micro={micro}", "--measure"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    name = f"m = {micro}" if micro else "plain"
    per_image = 1e3 * values["seconds"] / batch
    print(f"{name:>8}  N = {batch:5}  {values['gigabytes']:6.2f} GB  {per_image:7.2f} ms an image", flush=True)
    return values


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096, help="images of the large batch")
    parser.add_argument("--micro", type=int, default=128, help="images in flight")
    parser.add_argument("--size", type=int, default=32, help="side of the images")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=1, help="steps timed, after the first")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.batch, arguments.micro, arguments)
        return
    what = f"ResNet-{arguments.depth} x{arguments.width:g}, {arguments.size} px, {arguments.precision}"
    print(f"{what}; peak resident memory of a process, and time of a step")
    plain = {batch: in_a_process(batch, 0)["gigabytes"] for batch in PLAIN_BATCHES}
    slope, base = np.polyfit(list(plain), list(plain.values()), 1)
    needed = base + slope * arguments.batch
    fits = "fits" if needed <= MEMORY_OF_THE_GOAL else "does not fit"
    print(f"   plain  N = {arguments.batch:5}  {needed:6.2f} GB by the line through these: {fits} in 24 GB", flush=True)
    in_a_process(arguments.batch, arguments.micro)


if __name__ == "__main__":
    main()
