"""Turns the IDX files of Fashion-MNIST into a folder of images for `--dataset=folder`.

    python benchmarks/fashion_mnist_to_folder.py --out=DIR --train_limit=10000

writes DIR/train/CLASS/00042.png and DIR/test/CLASS/00042.png: grey, 28x28, numbered as in the files, so that the first
10,000 are those of the files, too. Debian's package dataset-fashion-mnist (apt install dataset-fashion-mnist) has
the IDX files; anyone else's copy will do. Needs Pillow.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", 2017.
"""

from __future__ import annotations

import argparse
import gzip
import pathlib
import sys

import numpy as np
from PIL import Image

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
PREFIXES = {"train": "train", "test": "t10k"}


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads an IDX file of bytes, gzipped or not: a magic number that ends in the rank, the sizes, the data."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()
    rank = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", count=rank, offset=4) if rank else ()
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * rank) if rank else np.zeros(0, np.uint8)
    if not rank or body.size != np.prod(shape):
        raise SystemExit(f"This is not a whole IDX file of bytes: download it again. Received: {path}")
    return body.reshape(shape)


def find(source: pathlib.Path, name: str) -> pathlib.Path:
    """The file of that name below `source`, gzipped or not."""
    for path in (source / f"{name}.gz", source / name):
        if path.is_file():
            return path
    raise SystemExit(
        f"There is no {name}.gz: install dataset-fashion-mnist (Debian) or pass --source=DIR with the IDX files. "
        f"Received: --source={source}"
    )


def write_split(source: pathlib.Path, out: pathlib.Path, split: str, limit: int | None) -> int:
    """Writes one split and returns its number of images."""
    prefix = PREFIXES[split]
    images = read_idx(find(source, f"{prefix}-images-idx3-ubyte"))[:limit]
    labels = read_idx(find(source, f"{prefix}-labels-idx1-ubyte"))[:limit]
    for name in CLASSES:
        (out / split / name).mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(out / split / CLASSES[label] / f"{number:05d}.png")
    return len(images)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and writes both splits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a new or empty folder")
    parser.add_argument("--train_limit", type=int, help="only the first N training images")
    options = parser.parse_args(arguments)
    if options.train_limit is not None and options.train_limit < 1:
        sys.exit(f"--train_limit must be at least 1. Received: --train_limit={options.train_limit}")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        sys.exit(f"The folder must be new or empty, so that nothing is mixed. Received: --out={options.out}")
    for split, limit in (("train", options.train_limit), ("test", None)):
        print(f"{split}: {write_split(options.source, options.out, split, limit)} images")


if __name__ == "__main__":
    main()
