"""Prepare a folder of images: damaged ones found, large ones reduced, all in a few large files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.checkpoint_images import pasted
from tf_simclr.config import FOLDER, DataConfig
from tf_simclr.config.beam import BeamConfig
from tf_simclr.config.paths import absolute
from tf_simclr.config.prepare import PrepareConfig
from tf_simclr.optional import require_beam

if TYPE_CHECKING:
    from tf_simclr.cli.prepare import PrepareResult

USAGE = """usage: python -m tf_simclr prepare --data_dir=FOLDER --out=SHARDS [flags]

Writes the images of a folder into a few large files. Large images are reduced to --side, damaged ones are found now.
Every task reads the new directory by --data_dir=SHARDS as it reads the folder: the same classes, splits, names and
hold-out. The folder itself is not changed."""
_OF_IMAGES = frozenset({"data_dir", "labels", "train_split", "decoder", "on_bad_image", "max_image_pixels"})
PREPARE, BEAM = flags.Group(PrepareConfig), flags.Group(BeamConfig)
DATA = flags.Group(DataConfig, frozenset(field.name for field in dataclasses.fields(DataConfig)) - _OF_IMAGES)
FLAG_GROUPS = (PREPARE, BEAM, DATA)


def main(parsed: flags.ParsedFlags) -> PrepareResult:
    """Runs the task."""
    wanted: PrepareConfig = PREPARE.build(parsed.values)
    data: DataConfig = DATA.build(parsed.values, dataset=FOLDER)
    beam: BeamConfig = BEAM.build(parsed.values)
    for part in (wanted, beam, data):
        part.validate()
    if beam.used:
        require_beam(beam.runner)
    data = dataclasses.replace(data.with_table_path(), data_dir=absolute(data.data_dir))
    from tf_simclr.cli import prepare

    given = {name: parsed.values[name] for name in sorted(parsed.given)}
    return prepare.run(wanted, data, pasted("prepare", given, PrepareConfig, DataConfig), beam)
