"""Plan a run for accelerators: what fits, how long it takes, what a budget of hours is enough for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.accelerators import several
from tf_simclr.cli.completion import ALL_FLAG_GROUPS, complete
from tf_simclr.cli.main import say
from tf_simclr.config import ExperimentConfig, build_config
from tf_simclr.config.budget import BudgetConfig

if TYPE_CHECKING:
    from tf_simclr.cli.budget import BudgetResult

USAGE = """usage: python -m tf_simclr plan --accelerator=NAME [--budget_hours=HOURS] [flags of run.py]

Says for a run of run.py with the same flags: the largest batch that fits into a device's memory, whether the run's own
batch does, images a second, hours, and epochs within the budget. Each number is measured or an estimate, and says
which. Nothing is trained or written. Recipes: --flagfile=configs/table6/resnet50_x1.cfg."""
BUDGET = flags.Group(BudgetConfig)
# Of one command that trains.
_OF_A_RUN = frozenset({"mode", "model_dir", "overwrite", "dry_run", "profile_steps", "draw_views"})
RUN = tuple(
    flags.Group(group.config, _OF_A_RUN & {field.name for field in dataclasses.fields(group.config)})
    for group in ALL_FLAG_GROUPS
)
FLAG_GROUPS = (BUDGET, *RUN)


def main(parsed: flags.ParsedFlags) -> BudgetResult:
    """Runs the task."""
    wanted: BudgetConfig = BUDGET.build(parsed.values)
    wanted.validate()
    name, one, devices = several(wanted.accelerator or "")
    of_run = {field.name: parsed.values[field.name] for group in RUN for field in group.fields}
    left_out = {name: value for name, value in ExperimentConfig().to_flags().items() if name in _OF_A_RUN}
    completed, origin = complete(dataclasses.replace(parsed, values=of_run | left_out))
    config = build_config(completed.values)
    say(f"plan: {origin}")
    from tf_simclr.cli import budget  # imports TensorFlow, which takes seconds

    return budget.run(config, parsed.given, wanted.budget_hours, (name, one, devices))
