"""Groups of shapes for `--dataset=folder`: images whose layout does not tell their class, and whose parts do.

    PYTHONPATH=. python benchmarks/shapes_groups.py --out=OUT

writes OUT/train/CLASS/NUMBER.png and OUT/test/CLASS/...: four of the built-in images of one class beside each other,
each with colours, a place, a size and an angle of its own. In the built-in data set an image is one thing on a plain
ground, so that whoever matches two views by their layout has found the class, and a small crop of it may show none.
Here it is the other way round, to see whether that is why crops are not needed there. It is not (docs/studies.md).
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

from tf_simclr.data.shapes import SPLIT_SIZES, render_shapes
from tf_simclr.data.silhouettes import SHAPES

ACROSS, SIDE = 2, 32


def render_groups(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [count, ACROSS * SIDE, ACROSS * SIDE, 3], classes in turn, and labels [count]."""
    tiles, labels = render_shapes(0, split, 0, count * ACROSS**2, side=SIDE)
    # Blocks of ten hold each class once: sorted by class, every class has as many tiles.
    by_class = tiles[np.argsort(labels, kind="stable")].reshape(len(SHAPES), -1, ACROSS, ACROSS, SIDE, SIDE, 3)
    groups = by_class.transpose(1, 0, 2, 4, 3, 5, 6).reshape(count, ACROSS * SIDE, ACROSS * SIDE, 3)
    return groups, np.arange(count) % len(SHAPES)


def main() -> None:
    """Writes both splits, as large as those of the built-in images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a folder that is not there yet")
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"The folder must be new, so that nothing is mixed. Received: --out={options.out}")
    for split in ("train", "test"):
        groups, labels = render_groups(split, SPLIT_SIZES[split])
        for number, (group, label) in enumerate(zip(groups, labels, strict=True)):
            folder = options.out / split / list(SHAPES)[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(group).save(folder / f"{number}.png")
        print(f"{split}: {len(groups)} images")


if __name__ == "__main__":
    main()
