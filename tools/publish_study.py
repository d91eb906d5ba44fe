"""Copies the page of a finished study into a repository, small: README.md, numbers.csv and the figures as PNG.

python -m tools.publish_study runs/figure5-small-shapes docs/studies/figure5-shapes
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys

from PIL import Image

TEXTS = ("README.md", "numbers.csv")
_COLOURS = 256


def publish(results: pathlib.Path, destination: pathlib.Path) -> int:
    """Copies the page; returns its size in bytes.

    Figures keep 256 colours, which nobody sees in a plot and which makes their files a third.

    Args:
        results: --model_dir of the study.
        destination: a folder, whose older figures are replaced.

    Raises:
        FileNotFoundError: the study has written no page yet.
    """
    missing = [name for name in TEXTS if not (results / name).exists()]
    if missing:
        raise FileNotFoundError(f"{results} has no {' and no '.join(missing)}: run the study there with --report")
    shutil.rmtree(destination / "pictures", ignore_errors=True)
    (destination / "pictures").mkdir(parents=True)
    for name in TEXTS:
        shutil.copyfile(results / name, destination / name)
    # Only the texts and figures are copied, so a link to the other files would lead nowhere.
    page = (destination / "README.md").read_text()
    (destination / "README.md").write_text(page.replace(", [numbers.json](numbers.json)", ""))
    for figure in sorted((results / "pictures").glob("*.png")):
        with Image.open(figure) as image:
            few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        few.save(destination / "pictures" / figure.name, optimize=True)
    return sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path, help="--model_dir of the study")
    parser.add_argument("destination", type=pathlib.Path, help="folder of the page")
    arguments = parser.parse_args()
    try:
        size = publish(arguments.results, arguments.destination)
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.destination}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
