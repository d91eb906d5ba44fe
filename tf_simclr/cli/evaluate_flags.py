"""Evaluate a representation by every protocol of the field, with one report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.checkpoint_images import pasted, with_recorded_images
from tf_simclr.cli.main import say
from tf_simclr.config import FLAGS_FILE, FOLDER, DataConfig, ProtocolConfig, RuntimeConfig
from tf_simclr.config.paths import absolute
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.known_data import known_splits
from tf_simclr.data.known_split import has_no_labels, require_evaluable
from tf_simclr.files import read_json

if TYPE_CHECKING:
    from tf_simclr.cli.evaluate import EvaluationResult

USAGE = """usage: python -m tf_simclr evaluate --checkpoint=DIR [flags]

Evaluates the encoder of a run, a checkpoint or an exported SavedModel: nearest neighbours, linear classifiers, logistic
regression, fine-tuning on few labels, a supervised baseline, the untrained encoder, and the health of the
representation. Writes report.json, report.md and confusion matrices to --model_dir. Without --dataset, the images
are those of the checkpoint's own run. Results are kept: run the same command again to resume."""
PROTOCOLS = flags.Group(ProtocolConfig)
DATA = flags.Group(DataConfig, frozenset({"train_batch_size"}))
RUNTIME = flags.Group(RuntimeConfig, frozenset({"mode", "seed", "jit_compile", "overwrite"}))
FLAG_GROUPS = (PROTOCOLS, DATA, RUNTIME)
# What an evaluation takes from the checkpoint's run where it is not given: always, and with the run's own images.
_ALWAYS = ("image_size", "data_seed", "eval_crop", "hold_out_by", "decoder")
_OWN_IMAGES = ("dataset", "data_dir", "train_split", "eval_split", "labels", "on_bad_image", "max_image_pixels")


def main(parsed: flags.ParsedFlags) -> EvaluationResult:
    """Runs the task."""
    protocols = PROTOCOLS.build(parsed.values)
    protocols.validate()
    RUNTIME.build(parsed.values).require_precision("evaluate")
    say(f"evaluating {protocols.checkpoint}")
    found = with_recorded_images(protocols.checkpoint, parsed, _ALWAYS, _OWN_IMAGES)
    parsed, origin, prefix = found.parsed, found.origin, found.prefix
    data, runtime = DATA.build(parsed.values).with_table_path(), RUNTIME.build(parsed.values)
    runtime = dataclasses.replace(runtime, model_dir=runtime.model_dir or default_directory(prefix, data))
    for part in (data, runtime):
        part.validate()
    listed = listed_images(data, protocols)
    used = found.used | ({"labels": data.labels} if data.labels else {}) | {"model_dir": runtime.model_dir}
    command = pasted("evaluate", used, ProtocolConfig, DataConfig, RuntimeConfig)
    from tf_simclr.cli import evaluate  # imports TensorFlow, which takes seconds

    return evaluate.run(protocols, data, runtime, origin, prefix, command, listed)


def listed_images(data: DataConfig, protocols: ProtocolConfig) -> ListedSplits | None:
    """Looks whether the images can be evaluated on, as far as that is known without TensorFlow.

    Returns:
        the files of a folder, for the code that opens it.

    Raises:
        InputError: anything wrong with a folder, or no labels where a protocol needs them.
    """
    known = known_splits(data, eval_split=data.eval_split, validation_split=protocols.validation_split)
    if known is None:
        return None
    if not protocols.needs_labels and has_no_labels(known.train, known.evaluation):
        return known.listed
    require_evaluable(known.train, known.evaluation, known.validation, eval_split=data.eval_split)
    return known.listed


def default_directory(prefix: str, data: DataConfig) -> str:
    """Where the report goes without --model_dir: below the checkpoint's run, or a new directory for an export.

    The name has the folder or data set, the split, and a digest of all that says which images are seen and how, so that
    no two reports of different images have the same.
    """
    place = absolute(data.data_dir)
    images = [data.dataset, place, data.labels, data.hold_out_by, data.train_split, data.eval_split]
    seen = json.dumps([*images, data.reading], sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(seen.encode()).hexdigest()[:8]
    shown = os.path.basename(place) if place and data.dataset == FOLDER else data.dataset
    name = "-".join(["evaluation", _plain(shown), _plain(data.eval_split), digest])
    run = os.path.dirname(prefix)
    if read_json(os.path.join(run, FLAGS_FILE)) is not None:
        return os.path.join(run, name)
    return os.path.join("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")


def _plain(text: str) -> str:
    """The text without what a file system or a shell may take for its own; not empty, and at most 40 characters."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.")[:40] or "images"
