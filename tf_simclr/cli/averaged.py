"""The average of a run's weights beside the weights themselves: its figures, and its export."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tf_simclr.cli.plan import Plan
from tf_simclr.cli.run_results import averaged_tag, export
from tf_simclr.data.source import ImageSource
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier
from tf_simclr.train.build import Say
from tf_simclr.train.run import Outcome, RunContext

# Below the run's directory; its export is a checkpoint to all tasks.
AVERAGE_DIRECTORY = "ema"


def averaged_figures(plan: Plan, context: RunContext, outcome: Outcome, source: ImageSource) -> dict[str, float]:
    """Accuracies of the supervised head with averaged weights, by the names of result.json; empty without an average.

    Args:
        plan: of the run.
        context: devices; with several workers all must call this.
        outcome: how the training ended.
        source: labelled evaluation split.
    """
    average = outcome.state.average
    if average is None:
        return {}
    with average.in_place():
        metrics = evaluate_classifier(plan.config, outcome.state, source, context.strategy)
    return {averaged_tag(name): metrics[name] for name in (TOP_1, TOP_5)}


def export_averaged(plan: Plan, outcome: Outcome, figures: Mapping[str, float], directory: str, say: Say) -> str | None:
    """Writes a SavedModel with averaged weights below a directory; returns its path, None without an average.

    Its card has the averaged network's figures under the names that an export usually has them.
    """
    average = outcome.state.average
    if average is None:
        return None
    own = {averaged_tag(name): name for name in (TOP_1, TOP_5)}
    metrics = {own[name]: value for name, value in figures.items() if name in own}
    with average.in_place():
        return export(plan, outcome, metrics, os.path.join(directory, AVERAGE_DIRECTORY), say)
