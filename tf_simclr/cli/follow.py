"""--mode=eval: evaluates the checkpoints of a run that may still be going on."""

from __future__ import annotations

from dataclasses import replace

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.cli.plan import Plan
from tf_simclr.cli.run_results import RunResult, export, report, require_finite
from tf_simclr.config.identity import differences
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import evaluate_classifier
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.interop.saved_model import step_directory
from tf_simclr.train.classes import in_order_of
from tf_simclr.train.directory import look_into, require_own_images
from tf_simclr.train.manifest import class_names_of
from tf_simclr.train.run import Outcome, build_run_state

# Flags that decide what the figures of a network are, and may differ from the run's.
_OF_EVALUATION = ("eval_split", "eval_crop", "eval_steps", "labels")


def follow(plan: Plan, strategy: tf.distribute.Strategy) -> RunResult:
    """Evaluates each new checkpoint of a training run until its last step, then exports.

    Raises:
        InputError: there is nothing to evaluate, or no checkpoint came in time.
    """
    if plan.eval_source is None:
        raise InputError(
            "`mode` must be train for a run without a supervised head, or without labels to compare it with. Received: "
            "mode=eval. Use labelled images and --lineareval_while_pretraining"
        )
    state = build_run_state(plan.config, plan.durations, plan.data.train, strategy)
    ordered = plan

    def match(prefix: str) -> None:
        """Looks whether the checkpoint is of these classes and images; when the plan was made none may have been."""
        nonlocal ordered
        data, notes = in_order_of(class_names_of(prefix), plan.config, plan.data, plan.directory)
        found = look_into(plan.directory)
        notes += require_own_images(found, plan.config, plan.data.train)
        for note in [note for note in notes if note not in plan.notes] if ordered is plan else []:
            say(f"note: {note}")
        ordered = replace(plan, data=data, found=found)

    steps = follow_checkpoints(
        plan.directory,
        state.model.named_variables(),
        last_step=plan.durations.train_steps,
        timeout=plan.config.evaluation.eval_timeout,
        say=say,
        check=match,
    )
    figures: dict[str, float] = {}
    for step in steps:
        assert ordered.eval_source is not None
        require_finite(plan, state.model, step)
        metrics = evaluate_classifier(plan.config, state, ordered.eval_source, strategy)
        figures = report(ordered, step, metrics)
    outcome = Outcome(state, plan.durations.train_steps, finished=True)
    path = export_followed(ordered, outcome, figures)
    return RunResult(plan.directory, outcome.step, finished=True, metrics=figures, saved_model=path)


def export_followed(plan: Plan, outcome: Outcome, figures: dict[str, float]) -> str:
    """The export of the last step, with figures where they are those of the run's own evaluation; returns its path."""
    other = differences(plan.run_config, plan.config, _OF_EVALUATION)
    if not other:
        return export(plan, outcome, figures, plan.directory, say)
    there = step_directory(plan.directory, outcome.step)
    if tf.io.gfile.exists(there):
        say(f"note: {there} stays as it is, because the figures are of another evaluation: {'; '.join(other)}")
        return there
    return export(plan, outcome, {}, plan.directory, say)
