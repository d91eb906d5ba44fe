"""What a run leaves beside its checkpoints: lines, result files, and the SavedModel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tf_simclr.cli.main import say
from tf_simclr.cli.plan import Plan
from tf_simclr.config import ExperimentConfig
from tf_simclr.config.identity import recorded_flags
from tf_simclr.evaluate.classifier import TOP_1, TOP_5
from tf_simclr.evaluate.results import describe_evaluation, write_results
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_step
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Say
from tf_simclr.train.checkpoint_files import is_pattern
from tf_simclr.train.finite import require_finite_network
from tf_simclr.train.interrupts import StopRequest, exit_code_of
from tf_simclr.train.run import Outcome, RunContext
from tf_simclr.train.summaries import SummaryWriter


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        directory: of its checkpoints and results, `model_dir`.
        step: steps that are done.
        finished: whether that was the last one; a run that was stopped goes on with the same flags.
        metrics: accuracies in [0, 1] and counts by the names of result.json; empty where nothing was evaluated. With
            `dry_run` what was found out, by names that begin with "dry_run/"; no directory was made.
        saved_model: path of the exported SavedModel; None without one.
        exit_code: of the program that does the same; 0 where all went well.
        time_shares: part -> share of the run's time, in [0, 1]: "steps", "input" (waiting for images), "checkpoints",
            "evaluation" and "rest", which add up to 1; empty with `mode` eval.
    """

    directory: str
    step: int = 0
    finished: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    saved_model: str | None = None
    exit_code: int = 0
    time_shares: Mapping[str, float] = field(default_factory=dict)


def require_finite(plan: Plan, model: SimCLRModel, step: int) -> None:
    """Refuses a network that diverged, before anything is made of it.

    Raises:
        DivergedError: it holds a value that is not finite, or computes one from an image.
    """
    require_finite_network(model, image_size=plan.config.data.image_size, what=f"the network at step {step}")


def untrained_tag(name: str) -> str:
    """The name in result.json of the untrained encoder's metric."""
    return name.replace("eval/", "untrained/")


def averaged_tag(name: str) -> str:
    """The name in result.json of a metric of the averaged weights."""
    return name.replace("eval/", "ema/")


def keep_results(plan: Plan, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
    """Writes result files; returns all figures that are known of the step's network on these images."""
    other = plan.online_data if plan.config.evaluation.online_data_dir else None
    online = None if other is None else (other.train, other.evaluation)
    evaluated_on = describe_evaluation(plan.config, step, plan.data.evaluation, online)
    figures, kept = write_results(plan.directory, step, metrics, evaluated_on)
    if kept is not None:
        say(f"note: result_{step}.json had figures of other images, or did not say of which: they are kept in {kept}")
    return figures


def report(
    plan: Plan, step: int, metrics: dict[str, float], online: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Prints accuracies and writes result files, with those of the online evaluation, and summaries.

    Returns:
        what `keep_results` returns.
    """
    config = plan.config
    figures = keep_results(plan, step, {**metrics, **(online or {})})
    directory = os.path.join(config.runtime.directory, config.evaluation.eval_name or "")
    SummaryWriter(directory).on_window(step, {k: v for k, v in metrics.items() if k.startswith(("eval/", "ema/"))})
    head = "online linear" if config.train.train_mode == "pretrain" else "supervised"
    say(
        f"step {step}, {metrics['eval/examples']:.0f} held-out images: {head} top-1 {metrics[TOP_1]:.1%}, "
        f"top-5 {metrics[TOP_5]:.1%}"
    )
    if averaged_tag(TOP_1) in metrics:
        say(
            f"the average of the weights (--ema_decay={config.train.ema_decay:g}): top-1 "
            f"{metrics[averaged_tag(TOP_1)]:.1%}, top-5 {metrics[averaged_tag(TOP_5)]:.1%}"
        )
    if untrained_tag(TOP_1) in metrics:
        floor = metrics[untrained_tag(TOP_1)]
        say(
            f"the same head on the untrained encoder: top-1 {floor:.1%}; "
            f"pretraining gains {100 * (metrics[TOP_1] - floor):.1f} points"
        )
    return figures


def export(plan: Plan, outcome: Outcome, metrics: Mapping[str, float], directory: str, say: Say) -> str:
    """Writes the SavedModel of a step below a directory, with the metrics of its evaluation; returns its path.

    Its card has the flags of the run: those of an evaluation may have named other images.
    """
    config = plan.run_config
    card = ModelCard(
        image_size=config.data.image_size,
        step=outcome.step,
        dataset=config.data.dataset,
        class_names=plan.data.train.class_names,
        config=recorded_flags(config),
        metrics=dict(metrics),
        eval_crop=config.data.eval_crop,
    )
    path = export_step(outcome.state.model, directory, card, config.checkpoint.keep_hub_module_max)
    say(f"SavedModel written to {path}")
    if is_pattern(path):
        say("note: TensorFlow cannot load a SavedModel from a path with * ? [ ] or \\: copy it elsewhere to use it")
    return path


def stopped(plan: Plan, context: RunContext, outcome: Outcome) -> RunResult:
    """Says where a run was stopped and how it goes on."""
    name, code = exit_code_of(context.stop)
    done = (
        f"saved step {outcome.step} in {plan.directory}" if outcome.step else "no step was done, and nothing is saved"
    )
    context.say(f"{name} received: {done}; run the same command with --model_dir={plan.directory} to go on")
    return RunResult(plan.directory, outcome.step, exit_code=code)


def stopped_outside_training(config: ExperimentConfig, stop: StopRequest) -> RunResult:
    """Says that nothing was lost of what was going on before the training, or beside it."""
    name, code = exit_code_of(stop)
    kept = (
        "figures that were reported are kept"
        if config.runtime.mode == "eval"
        else "training had not begun: no step is lost"
    )
    say(f"{name} received: {kept}; run the same command with --model_dir={config.runtime.directory} to go on")
    return RunResult(config.runtime.directory, exit_code=code)
