"""Show an index in TensorBoard's embedding projector."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX
from tf_simclr.cli.main import say
from tf_simclr.config import IndexConfig, ProjectorConfig
from tf_simclr.errors import InputError
from tf_simclr.index.projector import CONFIG_FILE, write_projector
from tf_simclr.index.store import open_index

USAGE = """usage: python -m tf_simclr projector --index=INDEX --out=DIR [flags]

Writes features, names and thumbnails for TensorBoard's projector, which draws them as a cloud of images by PCA, t-SNE
or UMAP, and searches for neighbours."""
PROJECTOR = flags.Group(ProjectorConfig)
FLAG_GROUPS = (INDEX, PROJECTOR)


@dataclass(frozen=True)
class ProjectorResult:
    """What was written.

    Attributes:
        out: the directory.
        images: how many.
        exit_code: of the program that does the same.
    """

    out: str
    images: int
    exit_code: int = 0


def main(parsed: flags.ParsedFlags) -> ProjectorResult:
    """Runs the task."""
    where: IndexConfig = INDEX.build(parsed.values)
    wanted: ProjectorConfig = PROJECTOR.build(parsed.values)
    where.validate()
    wanted.validate()
    out = wanted.directory
    if os.path.exists(out) and os.listdir(out) and not os.path.exists(os.path.join(out, CONFIG_FILE)):
        raise InputError(
            f"`out` must be a new directory, or one that this command has written. Received: out={out}, which has "
            f"other files and no {CONFIG_FILE}. Pass another --out"
        )
    index = open_index(where.directory)
    rows = np.arange(len(index.rows))
    if len(rows) > wanted.n:
        rows = np.sort(np.random.default_rng(wanted.seed).permutation(rows)[: wanted.n])
        say(f"note: {wanted.n:,} of {len(index.rows):,} images, chosen at random by --seed: --n=N takes more")
    write_projector(index, rows, out)
    say(f"{len(rows):,} images written to {out}")
    return ProjectorResult(out, len(rows))
