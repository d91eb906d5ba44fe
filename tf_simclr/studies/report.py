"""The images and pages of a study, from whatever results are there."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

import tf_simclr
from tf_simclr.config import ExperimentConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.studies.page import Setting, write_page
from tf_simclr.studies.plots import draw
from tf_simclr.studies.results import Results
from tf_simclr.studies.run_cell import cell_config
from tf_simclr.studies.scales import PAPER
from tf_simclr.studies.study import Gallery, Study, StudyCell, Views
from tf_simclr.studies.views import draw_gallery, draw_views

IMAGES_DIRECTORY = "pictures"
# What the paper's setting says of these is no difference worth a line.
_INCIDENTAL = frozenset({"eval_batch_size", "checkpoint_epochs", "keep_checkpoint_max", "eval_split", "train_split"})


def write_report(
    study: Study,
    scale: str,
    flags: Mapping[str, Any],
    results: Results,
    source: ImageSource,
    directory: str,
    *,
    command: str,
) -> str:
    """Draws the figures and writes the pages.

    Args:
        study: the study.
        scale: name of its scale.
        flags: that all cells share.
        results: what is there.
        source: training images; one of them is shown by its views.
        directory: of the study.
        command: as it was called.

    Returns:
        the path of index.html.

    Raises:
        InputError: matplotlib is missing.
    """
    cells = study.cells(scale)
    images: list[tuple[str, str]] = []
    for figure in study.figures:
        place = os.path.join(directory, IMAGES_DIRECTORY)
        if isinstance(figure, Views):
            paths = draw_views(figure, _rows(figure, cells, flags), source, place)
        elif isinstance(figure, Gallery):
            columns = [(cell.name, cell_config(flags, cell, 0, "")) for cell in cells]
            paths = draw_gallery(figure, columns, source, place)
        else:
            paths = draw(figure, cells, results, place)
        titles = (figure.title, f"{figure.title}: the paper's")
        images += list(zip(titles, paths, strict=False))
    setting = Setting(
        command=command,
        scale=scale,
        dataset=f"{source.name}, {source.num_examples} training images",
        seeds=tuple(results.seeds),
        flags=differing(flags, ExperimentConfig().to_flags()),
        date=time.strftime("%Y-%m-%d"),
        seconds=results.seconds,
        versions={
            "tf_simclr": tf_simclr.__version__,
            "TensorFlow": tf.__version__,
            "Python": platform.python_version(),
        },
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        differences=differences(study, scale, flags),
    )
    return write_page(study, cells, results, setting, images, directory)


def _rows(figure: Views, cells: Sequence[StudyCell], flags: Mapping[str, Any]) -> list[tuple[str, ExperimentConfig]]:
    """Label and config of each row of a grid of views; cells with the same augmentation stand there once."""
    rows: dict[str, tuple[str, ExperimentConfig]] = {}
    for cell in cells:
        if not figure.cells or cell.name in figure.cells:
            config = cell_config(flags, cell, 0, "")
            label = cell.name if figure.cells else list(cell.place.values())[-1]
            rows.setdefault(config.augmentation.augmentation, (label, config))
    return list(rows.values())


def differing(flags: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The flags whose value is not that of the others."""
    return {name: value for name, value in flags.items() if name in others and others[name] != value}


def differences(study: Study, scale: str, flags: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs from the paper's setting, a sentence each."""
    paper = {**ExperimentConfig().to_flags(), "dataset": "imagenet2012", **study.shared(PAPER)}
    lines = [
        f"--{name} is {value}, and {paper[name] if paper[name] != '' else 'unset'} at the paper's scale"
        for name, value in sorted(differing(flags, paper).items())
        if name not in _INCIDENTAL and name not in study.varied(scale)
    ]
    ours, theirs = ({cell.name for cell in study.cells(name)} for name in (scale, PAPER))
    if ours != theirs:
        lines.append(f"its cells are {len(ours)}, and {len(theirs)} at the paper's scale")
    return tuple(lines)
