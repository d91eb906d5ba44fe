"""Copies the page of a finished study into a repository, small: README.md, numbers.csv and the figures as PNG.

python -m tools.publish_study runs/figure5-small-shapes docs/studies/figure5-shapes
python -m tools.publish_study --findings --test_images=2000 docs/studies/figure5-shapes

The second command decides the findings of a page that was published before, from its numbers, by the rules of today.
"""

from __future__ import annotations

import argparse
import csv
import math
import pathlib
import re
import shutil
import sys
from collections import defaultdict

from PIL import Image

from tf_simclr.evaluate.report.tables import markdown_table
from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.page import findings_of
from tf_simclr.studies.results import CellResult, Results

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


def results_of(folder: pathlib.Path, test_images: int) -> Results:
    """The results of every seed of a published page, from means and standard deviations of at most two seeds."""
    measures: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in csv.DictReader((folder / "numbers.csv").read_text(encoding="utf-8").splitlines()):
        seeds = int(row["seeds"])
        if seeds > 2:
            raise ValueError(f"{folder}: {seeds} seeds do not follow from a mean and a standard deviation")
        for seed in range(seeds):
            away = float(row["std"]) / math.sqrt(2) if seeds == 2 else 0.0
            measures[row["cell"], seed][row["measure"]] = float(row["mean"]) + (away if seed else -away)
    return Results([CellResult(cell, seed, values) for (cell, seed), values in measures.items()], test_images)


def findings_text(folder: pathlib.Path, test_images: int) -> str:
    """The section on findings of a published page, as the numbers beside it decide them.

    Args:
        folder: STUDY-DATA, with numbers.csv.
        test_images: number of images that the accuracies are of.
    """
    study, results = find_study(folder.name.split("-")[0]), results_of(folder, test_images)
    found = findings_of(study, [cell for cell in study.cells("small") if results.of(cell.name)], results)
    assert found is not None
    return f"## Findings\n\n{found['caption']}\n\n{markdown_table(found['rows'])}\n"


def rewrite_findings(folder: pathlib.Path, test_images: int) -> None:
    """Writes that section into the page."""
    page, text = folder / "README.md", findings_text(folder, test_images)
    section = re.compile(r"## Findings\n.*?\n(?=\n(?:\*\*|##))", re.DOTALL)
    page.write_text(section.sub(lambda _: text, page.read_text(encoding="utf-8"), count=1), encoding="utf-8")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path, nargs="?", help="--model_dir of the study")
    parser.add_argument("destination", type=pathlib.Path, help="folder of the page")
    parser.add_argument("--findings", action="store_true", help="decide the findings of a published page anew")
    parser.add_argument("--test_images", type=int, help="with --findings: number of images the accuracies are of")
    arguments = parser.parse_args()
    if arguments.findings:
        if not arguments.test_images:
            parser.error("--findings needs --test_images")
        rewrite_findings(arguments.destination, arguments.test_images)
        return
    if arguments.results is None:
        parser.error("name the study's --model_dir and the folder of the page")
    try:
        size = publish(arguments.results, arguments.destination)
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.destination}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
