"""Train a student by the outputs of a teacher (run.py --train_mode=distill)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tf_simclr.cli import flags, train_flags
from tf_simclr.errors import InputError

if TYPE_CHECKING:
    from tf_simclr.cli.run_results import RunResult

USAGE = """usage: python -m tf_simclr distill --teacher=CHECKPOINT --data_dir=FOLDER [--checkpoint=START] [flags]

Trains a student to give the class probabilities of a teacher, which needs images and no labels. The teacher is any
checkpoint with a supervised head. The student begins with --checkpoint, or with the network that the flags describe.
The flags, and the files in --model_dir, are those of run.py.
On a folder without a rate, an optimizer or a batch the program chooses them."""
FLAG_GROUPS = train_flags.FLAG_GROUPS


def main(parsed: flags.ParsedFlags) -> RunResult:
    """Runs the task."""
    mode = parsed.values["train_mode"]
    if "train_mode" in parsed.given and mode != "distill":
        raise InputError(
            f"`train_mode` must be distill in this task. Received: train_mode={mode}. Leave it out, or use run.py"
        )
    values, given = parsed.values | {"train_mode": "distill"}, parsed.given | {"train_mode"}
    return train_flags.main(dataclasses.replace(parsed, values=values, given=given))
