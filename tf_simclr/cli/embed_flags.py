"""Embed images: features on disk that search, duplicates and other programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.checkpoint_images import DATA, RUNTIME, images_for, pasted
from tf_simclr.config import DataConfig, EmbedConfig, RuntimeConfig
from tf_simclr.config.beam import BeamConfig
from tf_simclr.errors import InputError
from tf_simclr.optional import require_beam

if TYPE_CHECKING:
    from tf_simclr.cli.embed import EmbedResult

USAGE = """usage: python -m tf_simclr embed --checkpoint=RUN --data_dir=FOLDER --out=INDEX [flags]

Computes the features of every image of a folder or data set and stores them with a row for each image. Labels are not
needed. The same command brings the index up to date: it computes the features of new and changed images only, and
drops those that are gone. Run it again to resume. Without --data_dir and --dataset, the images are those of
the checkpoint's own run."""
EMBED, BEAM = flags.Group(EmbedConfig), flags.Group(BeamConfig)
FLAG_GROUPS = (EMBED, BEAM, DATA, RUNTIME)


def main(parsed: flags.ParsedFlags) -> EmbedResult:
    """Runs the task."""
    wanted: EmbedConfig = EMBED.build(parsed.values)
    wanted.validate()
    beam = _pipeline(wanted, BEAM.build(parsed.values))
    if wanted.merge:
        from tf_simclr.cli.embed import merge_shards

        given = {name: parsed.values[name] for name in sorted(parsed.given)}
        return merge_shards(wanted, pasted("embed", given, EmbedConfig))
    assert wanted.checkpoint is not None
    data, runtime, used = images_for(wanted.checkpoint, parsed)
    from tf_simclr.cli import embed  # imports TensorFlow, which takes seconds

    command = pasted("embed", used, EmbedConfig, DataConfig, RuntimeConfig)
    return embed.run(wanted, data, runtime, command, beam)


def _pipeline(wanted: EmbedConfig, beam: BeamConfig) -> BeamConfig:
    beam.validate()
    if beam.used and (wanted.shard or wanted.merge):
        given = f"shard={wanted.shard}" if wanted.shard else "merge=True"
        raise InputError(
            f"`runner` divides the images itself, and makes one index. Received: runner={beam.runner}, {given}. Leave "
            "one of them out"
        )
    if beam.used:
        require_beam(beam.runner)
    return beam
