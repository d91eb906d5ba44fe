"""Embed images: features on disk that search, duplicates and other programs read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ONLY_DATA_DIR, with_other_folder
from tf_simclr.cli.evaluate_flags import described, pasted
from tf_simclr.cli.main import say
from tf_simclr.config import FOLDER, DataConfig, EmbedConfig, RuntimeConfig
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError

if TYPE_CHECKING:
    from tf_simclr.cli.embed import EmbedResult

USAGE = """usage: python -m tf_simclr embed --checkpoint=RUN --data_dir=FOLDER --out=INDEX [flags]

Computes the features of every image of a folder or data set and stores them with a row for each image. Labels are not
needed. The same command brings the index up to date: it computes the features of new and changed images only, and
drops those that are gone. It goes on where it was stopped. Without --data_dir and --dataset, the images are those of
the checkpoint's own run."""
EMBED = flags.Group(EmbedConfig)
DATA = flags.Group(DataConfig, frozenset({"train_batch_size", "eval_split", "hold_out_by", "cache_dataset"}))
RUNTIME = flags.Group(
    RuntimeConfig,
    frozenset({"mode", "model_dir", "overwrite", "seed", "precision", "jit_compile", "augment_on", "input_workers"}),
)
FLAG_GROUPS = (EMBED, DATA, RUNTIME)
_ALWAYS = ("image_size", "data_seed", "eval_crop", "decoder")
_OWN_IMAGES = ("dataset", "data_dir", "train_split", "labels", "on_bad_image")


def main(parsed: flags.ParsedFlags) -> EmbedResult:
    """Runs the task."""
    wanted: EmbedConfig = EMBED.build(parsed.values)
    wanted.validate()
    if wanted.merge:
        from tf_simclr.cli.embed import merge_shards

        return merge_shards(wanted, pasted("embed", {name: parsed.values[name] for name in sorted(parsed.given)}))
    assert wanted.checkpoint is not None
    from tf_simclr.evaluate.load import read_config  # imports TensorFlow, which takes seconds

    origin, prefix = read_config(wanted.checkpoint, say)
    recorded = origin.to_flags()
    for line in described(prefix, parsed.given):
        say(line)
    parsed = with_other_folder(parsed, origin.data)
    own = not parsed.values["dataset"]
    if own and not origin.data.dataset:
        raise InputError(
            f"`data_dir` must name the images to embed: {prefix} is of another program and records none. Received: no "
            "--data_dir. Pass --data_dir=FOLDER, or --dataset"
        )
    names = _ALWAYS + _OWN_IMAGES * own
    taken = {name: recorded[name] for name in names if name not in parsed.given and recorded[name] is not None}
    parsed = flags.fill_from_values(parsed, taken)
    data = DATA.build(parsed.values).with_table_path()
    data = dataclasses.replace(data, data_dir=absolute(data.data_dir))
    runtime = RUNTIME.build(parsed.values)
    for part in (data, runtime):
        part.validate()
    if data.dataset == FOLDER and "dataset" not in parsed.given and not own:
        say(f"note: {ONLY_DATA_DIR}")
    if own:
        say(f"no --data_dir given: the images are those of the checkpoint's run, {data.data_dir or data.dataset}")
    from tf_simclr.cli import embed

    used = {name: parsed.values[name] for name in parsed.values if name in parsed.given or name in taken}
    return embed.run(wanted, data, runtime, pasted("embed", used))
