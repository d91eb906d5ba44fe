"""Time of a training step in float32 and in low precision, in turn in one process.

    PYTHONPATH=. python benchmarks/precision.py  # ResNet-18 x0.5, 32 px, batch 64
    PYTHONPATH=. python benchmarks/precision.py --low=float16 --jit_compile

Prints medians over the repeats, the ratio and its spread: of each repeat's own pair of times, so that a machine which
is busy for a while slows both alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_simclr.config import PRECISIONS, Durations, build_config
from tf_simclr.train.build import build_train_state


def build_step(precision: str, arguments: argparse.Namespace) -> Callable[[], float]:
    """A step on one fixed batch, traced already; returns its loss."""
    config = build_config(
        {
            "dataset": "shapes",
            "image_size": arguments.size,
            "train_batch_size": arguments.batch,
            "resnet_depth": arguments.depth,
            "width_multiplier": arguments.width,
            "precision": precision,
            "jit_compile": arguments.jit_compile,
        }
    )
    state = build_train_state(config, Durations(10_000, 1, 100, 100), num_classes=10)
    shape = [arguments.batch, arguments.size, arguments.size, 3]
    views = tuple(tf.random.stateless_uniform(shape, [view, 0]) for view in (0, 1))
    batch = {"views": views, "label": tf.zeros([arguments.batch], tf.int64)}
    step = tf.function(state.step)
    for _ in range(2):
        step(batch)
    return lambda: float(step(batch)["train/total_loss"])


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--low", default="bfloat16", choices=PRECISIONS[1:])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="side of the images")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=3, help="steps in each time")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--jit_compile", action="store_true")
    arguments = parser.parse_args()
    steps = {name: build_step(name, arguments) for name in ("float32", arguments.low)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(arguments.steps):
                step()
            times[name].append((time.perf_counter() - began) / arguments.steps)
    print(f"ResNet-{arguments.depth} x{arguments.width:g}, {arguments.size} px, batch {arguments.batch}")
    for name, values in times.items():
        low, middle, high = (1e3 * float(np.quantile(values, share)) for share in (0.25, 0.5, 0.75))
        print(f"{name:>9}  {middle:8.1f} ms a step (quartiles {low:.1f} to {high:.1f})")
    ratios = np.array(times["float32"]) / np.array(times[arguments.low])
    low, middle, high = (float(np.quantile(ratios, share)) for share in (0.25, 0.5, 0.75))
    print(f"{arguments.low} is {middle:.2f} times as fast as float32 (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
