"""Peak extra memory and time of NT-Xent, forward and backward: the whole similarity matrix against blocks of rows.

    PYTHONPATH=. python benchmarks/nt_xent_memory.py --candidates=16384 --dim=128 --block_rows 128 256 512

Every measurement is a process of its own: a peak of resident memory never goes down again. The processes of one repeat
follow each other, so that a busy spell of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

# TensorFlow is imported in the measured process only: a child starts with the peak memory of its parent.


def peak_mib() -> float:
    """The highest resident memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(candidates: int, dim: int, block_rows: int, steps: int) -> dict[str, float | str]:
    """Memory of the first loss and gradient beyond that of a tiny one, and the median time of the next ones."""
    import tensorflow as tf

    from tf_simclr.losses.nt_xent import nt_xent

    @tf.function(reduce_retracing=False)
    def loss_and_gradient(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent(z[0], z[1], block_rows=block_rows).loss
        return loss, tape.gradient(loss, z)

    loss_and_gradient(tf.random.stateless_normal([2, 4, dim], seed=[0, 0]))
    z = tf.random.stateless_normal([2, candidates // 2, dim], seed=[0, 1])
    step = loss_and_gradient.get_concrete_function(z)
    before = peak_mib()
    loss, gradient = step(z)
    norm = float(tf.norm(gradient))
    extra = peak_mib() - before
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step(z)[1].numpy()
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return {"mib": extra, "seconds": middle, "loss": float(loss), "norm": norm, "tensorflow": tf.__version__}


def measure_apart(arguments: argparse.Namespace, block_rows: int) -> dict[str, float | str]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, f"--candidates={arguments.candidates}", f"--dim={arguments.dim}"]
    command += [f"--steps={arguments.steps}", f"--block_rows={block_rows}", "--measure"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def cell(values: list[float], digits: int) -> str:
    """Median and, in brackets, the range."""
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}-{high})"


def print_table(results: dict[int, list[dict]], plain: int) -> None:
    """Markdown, the plain version first, with the ratios of the medians to it."""
    medians = {
        rows: [statistics.median(run[key] for run in runs) for key in ("mib", "seconds")]
        for rows, runs in results.items()
    }
    print("| rows a block | extra memory, MiB | of plain | time, s | of plain | loss | gradient norm |")
    print("|---|---|---|---|---|---|---|")
    for rows, runs in results.items():
        memory, seconds = (m / p for m, p in zip(medians[rows], medians[plain], strict=True))
        print(
            f"| {'all (plain)' if rows == plain else rows} | {cell([r['mib'] for r in runs], 0)} | {memory:.3f} "
            f"| {cell([r['seconds'] for r in runs], 2)} | {seconds:.2f} "
            f"| {runs[0]['loss']:.6f} | {runs[0]['norm']:.6e} |"
        )
    print(f"\nTensorFlow {runs[0]['tensorflow']}; medians of {len(runs)} processes each, ranges in brackets.")


def main() -> None:
    """Prints the table, or in a measured process one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=16384, help="2N, an even number")
    parser.add_argument("--dim", type=int, default=128, help="of the projections")
    parser.add_argument("--block_rows", type=int, nargs="+", default=[256])
    parser.add_argument("--repeats", type=int, default=3, help="processes for each line")
    parser.add_argument("--steps", type=int, default=3, help="timed steps in a process")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if arguments.measure:
        print(
            json.dumps(
                measure(arguments.candidates, arguments.dim, arguments.block_rows[0], arguments.steps), allow_nan=False
            )
        )
        return
    plain = arguments.candidates
    results: dict[int, list[dict]] = {rows: [] for rows in [plain, *arguments.block_rows]}
    for _ in range(arguments.repeats):
        for rows, runs in results.items():
            runs.append(measure_apart(arguments, rows))
    print_table(results, plain)


if __name__ == "__main__":
    main()
