"""Turns emoji images of several vendors into a folder of images for `--dataset=folder`.

    python benchmarks/emoji_to_folder.py --source=DIR --test_vendor=facebook --out=OUT

writes OUT/train/CATEGORY/VENDOR-NAME.png and OUT/test/CATEGORY/...: colour, 64x64, on white, in the nine categories of
emoji.json, or with --label=subcategory in its 98 finer ones. The test split is one vendor's drawings, the training
split the others': the same things in other hands. With --hold_out=emoji it is other things in the same hands: ten
neighbours of every fifty in the emoji's own order, of all vendors. DIR holds the unpacked npm packages
emoji-datasource-VENDOR (`npm pack emoji-datasource-google`, then `tar xf`), each in DIR/VENDOR/package. Only emoji that
every vendor has are written, without variants of skin tone. Needs Pillow.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from PIL import Image

VENDORS = ("google", "twitter", "facebook")
# Five swatches of skin and hair that are no images of their own.
LEFT_OUT = "Component"
# Neighbours are often variants of one thing, a man and a woman of one trade: most of them are held out together.
NEIGHBOURS, PERIOD = 10, 50


def read_emoji(source: pathlib.Path, vendors: list[str]) -> list[dict[str, object]]:
    """The entries of emoji.json that every vendor has an image of."""
    path = source / vendors[0] / "package" / "emoji.json"
    if not path.is_file():
        raise SystemExit(f"There is no {path}: unpack emoji-datasource-{vendors[0]} there. Received: --source={source}")
    entries = json.loads(path.read_text())
    chosen = [e for e in entries if e["category"] != LEFT_OUT and all(e[f"has_img_{vendor}"] for vendor in vendors)]
    return sorted(chosen, key=lambda entry: entry["sort_order"])


def on_white(path: pathlib.Path) -> Image.Image:
    """The image without transparency, whose hidden colours are no part of it."""
    image = Image.open(path).convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, image).convert("RGB")


def write_vendor(
    entries: list[dict[str, object]], images: pathlib.Path, vendor: str, label: str, out: pathlib.Path
) -> int:
    """Writes one vendor's images into the folders of their labels; returns their number."""
    for entry in entries:
        folder = out / str(entry[label]).lower().replace(" & ", "-").replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        name = str(entry["image"])
        on_white(images / name).save(folder / f"{vendor}-{name}")
    return len(entries)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and writes both splits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path, required=True, help="with VENDOR/package for each vendor")
    parser.add_argument("--hold_out", choices=("vendor", "emoji"), default="vendor", help="for the test split")
    parser.add_argument("--test_vendor", choices=VENDORS, default="facebook", help="with --hold_out=vendor")
    parser.add_argument("--label", choices=("category", "subcategory"), default="category")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a new or empty folder")
    options = parser.parse_args(arguments)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        sys.exit(f"The folder must be new or empty, so that nothing is mixed. Received: --out={options.out}")
    entries = read_emoji(options.source, list(VENDORS))
    held_out = [entry for place, entry in enumerate(entries) if place % PERIOD < NEIGHBOURS]
    others = [entry for place, entry in enumerate(entries) if place % PERIOD >= NEIGHBOURS]
    for vendor in VENDORS:
        if options.hold_out == "emoji":
            parts = {"train": others, "test": held_out}
        else:
            parts = {"test" if vendor == options.test_vendor else "train": entries}
        images = options.source / vendor / "package" / "img" / vendor / "64"
        for split, part in parts.items():
            count = write_vendor(part, images, vendor, options.label, options.out / split)
            print(f"{split}: {count} images of {vendor}")


if __name__ == "__main__":
    main()
