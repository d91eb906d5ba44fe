"""How well copies are found: planted ones of many images, by an index and by perceptual hashing.

    python -m benchmarks.planted_copies --folder=IMAGES --checkpoint=runs/mine

Takes the images of a folder and plants copies of every third, in equal parts re-encoded (JPEG, quality 50), cropped
(90% of the sides), flipped and brightened (by 20%). Embeds originals and copies by the network of a checkpoint, chooses
the threshold as the `duplicates` task does, and prints the recall of each kind and the precision of all pairs: of those
that are called copies, how many are planted. Beside it perceptual hashing (pHash, 64 bits, package imagehash) at some
distances. Pairs of originals that are alike count as mistakes in both, so take a folder without copies.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from tf_simclr.cli.main import main as run_task
from tf_simclr.index.duplicates import choose_threshold, nearest_similarities
from tf_simclr.index.store import Index, open_index

JPEG, CROP, FLIP, BRIGHT = "JPEG, quality 50", "crop of 90%", "flip", "20% brighter"
KINDS = (JPEG, CROP, FLIP, BRIGHT)
HASH_BITS = (0, 4, 8, 12)
ONE_IN = 3


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--images", type=int, default=3000, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        images = os.path.join(directory, "images")
        plant(options.folder, images, options.images, options.seed)
        place = os.path.join(directory, "index")
        words = [f"--checkpoint={options.checkpoint}", f"--data_dir={images}", f"--out={place}"]
        assert run_task(["embed", *words]) == 0
        index = open_index(place)
        print("| method | " + " | ".join(f"recall, {kind}" for kind in KINDS) + " | precision |")
        print("|---" * (len(KINDS) + 2) + "|")
        chosen = choose_threshold(nearest_similarities(index)).similarity
        similarities = index.normalised(np.arange(len(index.rows)))
        matrix = similarities @ similarities.T
        for threshold, name in ((chosen, f"`duplicates`, {chosen:.4f} (chosen)"), (0.99, "0.99"), (0.95, "0.95")):
            print(row(index, name, matrix >= threshold), flush=True)
        differing = hash_distances(index)
        for bits in HASH_BITS:
            print(row(index, f"pHash, at most {bits} of 64 bits", differing <= bits), flush=True)


def plant(source: str, target: str, most: int, seed: int) -> None:
    """Writes originals and copies; a copy's name says what it is of."""
    os.makedirs(target)
    names = sorted(name for name in os.listdir(source) if name.endswith((".png", ".jpg")))
    chosen = np.random.default_rng(seed).permutation(len(names))[:most]
    for number, place in enumerate(chosen.tolist()):
        with Image.open(os.path.join(source, names[place])) as opened:
            image = on_white(opened)
        image.save(os.path.join(target, f"{number:05d}.png"))
        if number % ONE_IN:
            continue
        kind = number // ONE_IN % len(KINDS)
        end = "jpg" if KINDS[kind] == JPEG else "png"
        # PNG has no quality, and passes over it.
        changed(image, KINDS[kind]).save(os.path.join(target, f"{number:05d}-{kind}.{end}"), quality=50)


def on_white(image: Image.Image) -> Image.Image:
    """Without transparency."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def changed(image: Image.Image, kind: str) -> Image.Image:
    """A copy."""
    width, height = image.size
    changes: dict[str, Callable[[], Any]] = {
        JPEG: lambda: image,
        CROP: lambda: image.crop((0, 0, round(0.9 * width), round(0.9 * height))),
        FLIP: lambda: ImageOps.mirror(image),
        BRIGHT: lambda: ImageEnhance.Brightness(image).enhance(1.2),
    }
    return changes[kind]()


def hash_distances(index: Index) -> np.ndarray:
    """int [n, n], differing bits of pHash of every pair."""
    import imagehash

    hashes = []
    for place in range(len(index.rows)):
        with Image.open(index.path_of(place)) as image:
            hashes.append(np.asarray(imagehash.phash(image).hash).reshape(-1))
    bits = np.array(hashes, np.int64)
    return bits @ (1 - bits).T + (1 - bits) @ bits.T


def row(index: Index, name: str, called: np.ndarray) -> str:
    """A row of the table, of bool [n, n]: which pairs are called copies."""
    stems = [os.path.splitext(one.path)[0] for one in index.rows]
    original = {stem: place for place, stem in enumerate(stems) if "-" not in stem}
    planted = np.zeros_like(called)
    cells = []
    for kind in range(len(KINDS)):
        pairs = [(original[stem[:5]], place) for place, stem in enumerate(stems) if stem.endswith(f"-{kind}")]
        for one, other in pairs:
            planted[one, other] = planted[other, one] = True
        cells.append(f"{np.mean([called[pair] for pair in pairs]):.1%}")
    upper = np.triu(called, 1)
    found = int(upper.sum())
    precision = f"{(upper & planted).sum() / found:.1%} of {found:,}" if found else "no pair"
    return f"| {name} | " + " | ".join(cells) + f" | {precision} |"


if __name__ == "__main__":
    main()
