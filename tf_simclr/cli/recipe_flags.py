"""Run the stages of a recipe: pretrain, fine-tune, distil, evaluate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ALL_FLAG_GROUPS
from tf_simclr.config.recipe import RecipeConfig
from tf_simclr.errors import InputError

if TYPE_CHECKING:
    from tf_simclr.cli.recipe import RecipeResult

USAGE = """usage: python -m tf_simclr recipe --recipe=simclr_v2_tiny [--model_dir=DIR] [flags]

Runs the stages of a recipe one after another, each in a directory of its own below --model_dir (runs/RECIPE). The
same command goes on where it was stopped: a stage that is finished is left alone, and one that is not goes on. Flags
of run.py that are given hold for every stage that trains. Your own recipe is a JSON file like those in
tf_simclr/recipes."""
RECIPE = flags.Group(RecipeConfig)
FLAG_GROUPS = (RECIPE, *ALL_FLAG_GROUPS)
# What the stages have for themselves.
OF_STAGES = ("mode", "train_mode", "checkpoint", "teacher", "overwrite")


def main(parsed: flags.ParsedFlags) -> RecipeResult:
    """Runs the task."""
    refused = sorted(parsed.given & set(OF_STAGES))
    if refused:
        raise InputError(
            f"`{refused[0]}` is what each stage of a recipe has for itself. Received: "
            f"{', '.join(f'--{name}={parsed.values[name]}' for name in refused)}. Leave it out, or copy the recipe "
            "into a file, change it there, and pass --recipe=FILE"
        )
    from tf_simclr.cli import recipe

    found = recipe.read_recipe(parsed.values["recipe"])
    directory = parsed.values["model_dir"] or os.path.join("runs", found.name)
    own = {name: parsed.values[name] for name in sorted(parsed.given & set(parsed.values) - {"recipe", "model_dir"})}
    return recipe.run(found, directory, own)
