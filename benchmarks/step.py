"""Images a second of one training step, beside the same step written plainly, on any device.

    python -m benchmarks.step  # ResNet-18, 32 px, 128 images, float32 and bfloat16
    python -m benchmarks.step --depth 50 --size 224 --batch 32 --repeats 5
    python -m benchmarks.step --depth 50 --size 224 --batch 256 --precisions bfloat16 --jit_compile  # on a GPU

A step is two views of each image through encoder, head, NT-Xent and update, on a fixed batch; an image counts once.
Plain is `benchmarks/plain/step.py` in float32. All sides run in one process, in turn: the table has medians, and in
brackets the least and the most. Memory is that of a process of its own which takes two steps. The share of the peak is
the arithmetic of the convolutions and products against that of a large matrix product on the same device in the same
precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable

import tensorflow as tf

from benchmarks.alternate import Comparison, Rate, Spread, comparison, in_turn, rate, table
from benchmarks.plain.step import build_plain_step
from tf_simclr.config import PRECISIONS, Durations, build_config
from tf_simclr.files import to_json, write_whole
from tf_simclr.train.build import build_train_state

PLAIN = "plain"
Step = Callable[[dict[str, object]], object]


def main() -> None:
    """Prints the tables, and writes the numbers where asked."""
    options = parsed()
    if options.memory_of:
        print(f"peak {peak_memory(options, options.memory_of):.0f} MiB")
        return
    names = (PLAIN, *options.precisions)
    # First of all: a process begins with the peak of the one that started it.
    memory = {} if options.no_memory else {name: memory_apart(name) for name in names}
    sides = {name: build_step(options, name) for name in names}
    rounds = in_turn([measured(step, options) for step in sides.values()], options.repeats)
    comparisons = [
        comparison(named(options, precision), [(one[place], one[0]) for one in rounds])
        for place, precision in enumerate(options.precisions, start=1)
    ]
    print(table(comparisons))
    for name, mebibytes in memory.items():
        print(f"peak memory, {name}: {mebibytes:,.0f} MiB")
    shares = [
        share_of_peak(options, one, precision) for one, precision in zip(comparisons, options.precisions, strict=True)
    ]
    if options.json:
        write_json(options, comparisons, memory, shares)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=32, help="side of the views")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"], choices=PRECISIONS)
    parser.add_argument("--jit_compile", action="store_true", help="compiles our step by XLA")
    parser.add_argument("--micro_batch", type=int, default=0, help="images in flight; 0: the whole batch")
    parser.add_argument("--steps", type=int, default=3, help="steps in one measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no_memory", action="store_true", help="leaves out the processes that measure memory")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)  # what such a process measures
    parser.add_argument("--json", help="file for the numbers")
    return parser.parse_args()


def named(options: argparse.Namespace, precision: str) -> str:
    """What a row of the table measures."""
    parts = [f"ResNet-{options.depth} x{options.width:g}, {options.size} px, batch {options.batch}, {precision}"]
    parts += ["--jit_compile"] * options.jit_compile
    parts += [f"--micro_batch_size={options.micro_batch}"] * bool(options.micro_batch)
    return ", ".join(parts)


def stem_of(options: argparse.Namespace) -> str:
    """The stem of both sides: CIFAR's up to 64 pixels."""
    return "cifar" if options.size <= 64 else "imagenet"


# ---- Steps ----


def build_step(options: argparse.Namespace, name: str) -> Step:
    """The plain step, or ours in a precision: a function of a batch."""
    if name == PLAIN:
        return build_plain_step(options.depth, options.width, options.size, cifar_stem=stem_of(options) == "cifar")
    config = build_config(
        {
            "dataset": "shapes",
            "image_size": options.size,
            "train_batch_size": options.batch,
            "resnet_depth": options.depth,
            "width_multiplier": options.width,
            "precision": name,
            "jit_compile": options.jit_compile,
            "micro_batch_size": options.micro_batch,
            "stem": stem_of(options),
        }
    )
    state = build_train_state(config, Durations(10_000, 1, 100, 100), num_classes=10)
    return tf.function(state.step, autograph=False)


def batch_of(options: argparse.Namespace) -> dict[str, object]:
    """A fixed batch in the device's memory."""
    shape = [options.batch, options.size, options.size, 3]
    views = tuple(tf.random.stateless_uniform(shape, [view, 0]) for view in (0, 1))
    return {"views": views, "label": tf.range(options.batch, dtype=tf.int64) % 10}


def measured(step: Step, options: argparse.Namespace) -> Callable[[], Rate]:
    """Times some steps, up to the last one's numbers."""
    batch = batch_of(options)
    wait_for(step(batch))

    def work() -> int:
        for _ in range(options.steps):
            found = step(batch)
        wait_for(found)
        return options.steps * options.batch

    return lambda: rate(work)


def wait_for(found: object) -> None:
    """Returns when the device has computed it."""
    for value in tf.nest.flatten(found):
        value.numpy()


# ---- Memory ----


def peak_memory(options: argparse.Namespace, name: str) -> float:
    """MiB that two steps take: of the GPU where there is one, of this process otherwise."""
    step, batch = build_step(options, name), batch_of(options)
    for _ in range(2):
        wait_for(step(batch))
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def memory_apart(name: str) -> float:
    """The same, by a process of its own with the same command line."""
    command = [sys.executable, "-m", "benchmarks.step", *sys.argv[1:], "--memory_of", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"peak ([0-9.]+) MiB", output)
    assert found is not None, output
    return float(found[1])


# ---- Arithmetic ----


def gigaflop_an_image(options: argparse.Namespace) -> float:
    """Floating-point operations of one image in a step, in 10^9: two views forward, and twice as much backward.

    TensorFlow's profiler counts convolutions and products, a multiplication and an addition each.
    """
    flags = {"dataset": "shapes", "image_size": options.size, "resnet_depth": options.depth}
    flags |= {"width_multiplier": options.width, "stem": stem_of(options)}
    model = build_train_state(build_config(flags), Durations(10_000, 1, 100, 100), num_classes=10).model
    one = tf.TensorSpec([1, options.size, options.size, 3], tf.float32)
    graph = tf.function(lambda images: model.endpoints(images, training=False)).get_concrete_function(one).graph
    profiler = tf.compat.v1.profiler
    asked = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return 6 * profiler.profile(graph, options=asked).total_float_ops / 1e9


def gigaflops_of_product(precision: str, side: int = 4096) -> float:
    """10^9 operations a second of a product of two square matrices on the default device: the median of five."""
    dtype = tf.as_dtype(precision)
    a, b = (tf.cast(tf.random.stateless_uniform([side, side], [seed, 0]), dtype) for seed in (0, 1))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, b)), autograph=False)

    def work() -> int:
        wait_for(product())
        return 1

    work()
    return Spread.of([rate(work).images_a_second for _ in range(5)]).median * 2 * side**3 / 1e9


def share_of_peak(options: argparse.Namespace, one: Comparison, precision: str) -> dict[str, float]:
    """What a step does a second against a large product; prints it, too."""
    done = one.ours.median * gigaflop_an_image(options)
    peak = gigaflops_of_product(precision)
    print(f"{precision}: {done:,.0f} GFLOP/s, {done / peak:.0%} of the {peak:,.0f} GFLOP/s of a large matrix product")
    return {"gigaflops": done, "gigaflops_of_product": peak}


def write_json(
    options: argparse.Namespace, comparisons: list[Comparison], memory: dict[str, float], shares: list[dict[str, float]]
) -> None:
    """The numbers and what they depend on."""
    facts = {
        "command": sys.argv[1:],
        "cores": len(os.sched_getaffinity(0)),
        "devices": [tf.config.experimental.get_device_details(one) for one in tf.config.list_physical_devices("GPU")],
        "tensorflow": tf.__version__,
        "load": os.getloadavg()[0],
    }
    results = [dataclasses.asdict(one) | share for one, share in zip(comparisons, shares, strict=True)]
    values = {"setting": facts, "results": results, "peak_memory_mib": memory}
    write_whole(options.json, to_json(values, indent=2).encode())


if __name__ == "__main__":
    main()
