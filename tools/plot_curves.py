"""Draws the curves of some runs into one small image: losses, contrastive and linear accuracy against the step.

python -m tools.plot_curves --out=docs/curves.png NAME=MODEL_DIR ...
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed, and none may be there
import matplotlib.pyplot as plt
import tensorflow as tf

from tf_simclr.errors import InputError

PANELS = {
    "train/contrast_loss": "contrastive loss (nats)",
    "train/contrast_acc": "contrastive accuracy",
    "train/supervised_acc": "online linear accuracy while training",
    "train/supervised_loss": "label loss (nats)",
}
# Of quantities that two runs may have in other orders of magnitude.
LOGARITHMIC = ("train/supervised_loss",)

Curve = tuple[list[int], list[float]]


def read_curves(model_dir: str) -> dict[str, Curve]:
    """The curves of a run: tag -> steps and values, from all event files of its directory.

    Raises:
        InputError: there are none.
    """
    points: dict[str, dict[int, float]] = {tag: {} for tag in PANELS}
    for path in sorted(tf.io.gfile.glob(os.path.join(model_dir, "events.*"))):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.tag in points:
                    points[value.tag][event.step] = float(tf.make_ndarray(value.tensor))
    if not any(points.values()):
        raise InputError(f"`model_dir` must hold the curves of a run. Received: {model_dir}. Train there first")
    return {tag: (sorted(found), [found[step] for step in sorted(found)]) for tag, found in points.items()}


def draw(runs: dict[str, dict[str, Curve]], out: str) -> None:
    """Writes the image: one panel a tag, one line a run."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(3.3 * len(PANELS), 2.8), layout="constrained")
    for axis, (tag, title) in zip(axes, PANELS.items(), strict=True):
        for name, curves in runs.items():
            axis.plot(*curves[tag], label=name, linewidth=1.5)
        axis.set_title(title, fontsize=9)
        if tag in LOGARITHMIC:
            axis.set_yscale("log")
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(out, dpi=90)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, help="image to write; its ending decides the format")
    parser.add_argument("runs", nargs="+", metavar="NAME=MODEL_DIR", help="a line of the image")
    options = parser.parse_args(argv)
    try:
        for run in options.runs:
            if "=" not in run:
                raise InputError(f"a run is written NAME=MODEL_DIR. Received: {run}. Give it a name")
        named = dict(run.split("=", 1) for run in options.runs)
        draw({name: read_curves(directory) for name, directory in named.items()}, options.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
