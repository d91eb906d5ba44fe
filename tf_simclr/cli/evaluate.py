"""Judge a representation by every protocol of the field, with one report."""

from __future__ import annotations

import dataclasses
import os
import time

from tf_simclr.cli import flags
from tf_simclr.cli.main import say
from tf_simclr.config import FLAGS_FILE, DataConfig, ProtocolConfig, RuntimeConfig

USAGE = """usage: python -m tf_simclr evaluate --checkpoint=DIR [flags]

Judges the encoder of a run, a checkpoint or an exported SavedModel: nearest neighbours, linear classifiers, logistic
regression, fine-tuning on few labels, a supervised baseline, the untrained encoder, and the health of the
representation. Writes report.json, report.md and confusion matrices to --model_dir. Without --dataset, the pictures
are those of the checkpoint's own run. What is done is kept: the same command goes on where it was stopped."""
PROTOCOLS = flags.Group(ProtocolConfig)
DATA = flags.Group(DataConfig, frozenset({"train_batch_size"}))
RUNTIME = flags.Group(RuntimeConfig, frozenset({"mode", "seed", "jit_compile"}))
FLAG_GROUPS = (PROTOCOLS, DATA, RUNTIME)
# What a judging takes from the checkpoint's run where it is not given: always, and with the run's own pictures.
_ALWAYS = ("image_size", "data_seed", "hold_out_by")
_OWN_PICTURES = ("dataset", "data_dir", "train_split", "eval_split", "labels")


def main(parsed: flags.ParsedFlags) -> int:
    """Runs the task; returns the exit code."""
    protocols = PROTOCOLS.build(parsed.values)
    protocols.validate()
    say(f"judging {protocols.checkpoint}")
    from tf_simclr.evaluate.trained import read_config  # imports TensorFlow, which takes seconds

    origin, prefix = read_config(protocols.checkpoint)
    own = not parsed.values["dataset"]
    recorded = origin.to_flags()
    names = _ALWAYS + _OWN_PICTURES * own
    parsed = flags.fill_from_values(parsed, {name: recorded[name] for name in names})
    data, runtime = DATA.build(parsed.values), RUNTIME.build(parsed.values)
    runtime = dataclasses.replace(runtime, model_dir=runtime.model_dir or default_directory(prefix, data))
    for part in (data, runtime):
        part.validate()
    if own:
        say(f"no --dataset given: the pictures are those of the checkpoint's run, {data.dataset}")
    from tf_simclr.cli import judge

    return judge.run(protocols, data, runtime, origin, prefix)


def default_directory(prefix: str, data: DataConfig) -> str:
    """Where the report goes without --model_dir: below the checkpoint's run, or a new directory for an export."""
    name = f"evaluation-{data.dataset.replace('/', '_').replace(':', '_')}"
    run = os.path.dirname(prefix)
    if os.path.exists(os.path.join(run, FLAGS_FILE)):
        return os.path.join(run, name)
    return os.path.join("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
