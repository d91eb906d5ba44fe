"""--mode=eval: evaluates the checkpoints of a run that may still be going on."""

from __future__ import annotations

from dataclasses import replace

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.cli.plan import Plan
from tf_simclr.cli.run_results import RunResult, export, report, require_finite
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import evaluate_classifier
from tf_simclr.evaluate.follow import follow_checkpoints
from tf_simclr.train.classes import in_order_of
from tf_simclr.train.manifest import class_names_of
from tf_simclr.train.run import Outcome, build_run_state


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

    def match_classes(prefix: str) -> None:
        nonlocal ordered
        data, notes = in_order_of(class_names_of(prefix), plan.config, plan.data, plan.directory)
        for note in notes if ordered is plan else []:
            say(f"note: {note}")
        ordered = replace(plan, data=data)

    steps = follow_checkpoints(
        plan.directory,
        state.model.named_variables(),
        last_step=plan.durations.train_steps,
        timeout=plan.config.evaluation.eval_timeout,
        say=say,
        check=match_classes,
    )
    metrics: dict[str, float] = {}
    for step in steps:
        assert ordered.eval_source is not None
        require_finite(plan, state.model, step)
        metrics = evaluate_classifier(plan.config, state, ordered.eval_source, strategy)
        report(plan.config, step, metrics)
    outcome = Outcome(state, plan.durations.train_steps, finished=True)
    path = export(ordered, outcome, metrics, plan.directory, say)
    return RunResult(plan.directory, outcome.step, finished=True, metrics=metrics, saved_model=path)
