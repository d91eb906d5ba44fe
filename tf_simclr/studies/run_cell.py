"""Runs one cell of a study: trains what it says, and measures what came out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tf_simclr.config import Durations, ExperimentConfig, build_config
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract, extracted, in_memory
from tf_simclr.evaluate.measures.knn import knn_accuracies
from tf_simclr.evaluate.measures.linear import LinearClassifier, linear_probe
from tf_simclr.evaluate.measures.metrics import top_k_accuracy
from tf_simclr.evaluate.online import LINEAR_TOP_1, TEMPERATURE, K, OnlineEvaluation, OnlinePlan
from tf_simclr.evaluate.protocols.context import WorkContext
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.studies.few_labels import few_label_measures
from tf_simclr.studies.given_network import GivenNetwork
from tf_simclr.studies.histograms import crop_histograms, histogram_curves, nearest_is_own
from tf_simclr.studies.plan import cell_config, durations_of
from tf_simclr.studies.recorder import Recorder
from tf_simclr.studies.results import CellResult
from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.study import DRAWN, FEW_LABELS, HISTOGRAMS, SUPERVISED, TRANSFER, TRANSFORMATIONS, StudyCell
from tf_simclr.studies.transfer import NETWORKS_DIRECTORY, OpenedSet, pretrained_in, transferred
from tf_simclr.studies.transformations import predict_transformation
from tf_simclr.train import checkpoints
from tf_simclr.train.build import TrainState
from tf_simclr.train.directory import begin_run

# As in CellResult.
Curves: TypeAlias = dict[str, dict[str, list[float]]]

# Of top-5.
TOP = 5
H, Z = "final_avg_pool", "proj_head_output"
# Enough for an MLP, of each split: all of ImageNet's would take hours.
MOST_TRANSFORMED = 100_000
_TAGS = {
    "contrast_loss": "train/contrast_loss",
    "contrast_acc": "train/contrast_acc",
    "contrast_entropy": "train/contrast_entropy",
}


@dataclass(frozen=True, kw_only=True)
class StudyContext(WorkContext):
    """What every cell of a study needs. `splits.test` is `splits.train` in a study that evaluates nothing.

    Attributes:
        scale: name of the scale.
        flags: what all cells share, by flag name: the scale's, and what was given for all of them.
        given: networks that are measured in place of training some; None trains.
        sets: data sets that networks are transferred to, by name.
        networks: directory of pretrainings that several cells share.
    """

    scale: str
    flags: Mapping[str, Any]
    given: GivenNetwork | None = None
    sets: Mapping[str, OpenedSet] = field(default_factory=dict)
    networks: str = NETWORKS_DIRECTORY


def run_cell(context: StudyContext, cell: StudyCell, seed: int, directory: str) -> CellResult:
    """Trains and measures a cell, or goes on where an earlier try in the directory was stopped.

    Raises:
        InputError: it cannot be run so, or it diverged.
        StoppedError: somebody asked to stop.
    """
    began = time.perf_counter()
    if cell.task == DRAWN:
        return CellResult(cell.name, seed, {})
    if cell.task == HISTOGRAMS:
        measures, curves = _histograms(context, cell, seed)
        return CellResult(cell.name, seed, measures, curves, seconds=time.perf_counter() - began)
    config = cell_config(context.flags, cell, seed, directory)
    if context.given is not None:
        measures, curves = _represented(context, config, context.given.model, linear_curves=False)
        measures |= _transformation_found(context, config, context.given.model, cell, seed)
        return CellResult(cell.name, seed, measures, curves, seconds=time.perf_counter() - began)
    durations = durations_of(config, cell, context.splits.train.num_examples)
    recorder = Recorder(directory)
    details = {
        "steps": durations.train_steps,
        "pictures_seen": durations.train_steps * config.data.train_batch_size,
        "peak_learning_rate": config.optimizer.peak_learning_rate(config.data.train_batch_size),
    }
    curves = {}
    if cell.task == FEW_LABELS:
        measures = _few_labels(context, cell, config, durations, recorder)
        return CellResult(cell.name, seed, measures, curves, details, time.perf_counter() - began)
    if cell.task == TRANSFER:
        measures, answers = _transferred(context, cell, config, durations)
        return CellResult(cell.name, seed, measures, curves, {}, time.perf_counter() - began, answers)
    model = _trained(context, config, durations, recorder)
    if cell.task == SUPERVISED:
        measures = _classified(context, config, model)
    else:
        measures, curves = _represented(context, config, model, linear_curves="curve_points" in cell.options)
        measures |= {name: value for name, tag in _TAGS.items() if (value := recorder.at_the_end(tag)) is not None}
        curves |= {"contrast_loss": recorder.curve("train/contrast_loss")}
        if "curve_points" in cell.options:
            curves["online_top_1"] = recorder.curve(LINEAR_TOP_1)
    measures["parameters"] = _parameters(model)
    if cell.task == TRANSFORMATIONS:
        measures |= _transformation_found(context, config, model, cell, seed)
    return CellResult(cell.name, seed, measures, curves, details, time.perf_counter() - began)


def _trained(context: StudyContext, config: ExperimentConfig, durations: Durations, recorder: Recorder) -> SimCLRModel:
    """The networks of a cell, trained in its directory."""
    return context.train(
        config,
        durations,
        context.splits.train,
        config.runtime.directory,
        recorder=recorder,
        on_due=(lambda state: _online(context, state, recorder)) if durations.online_eval_steps else None,
        begin=lambda: begin_run(config),  # its flags.json lets a run that is kept be evaluated
    )


def _few_labels(
    context: StudyContext, cell: StudyCell, config: ExperimentConfig, durations: Durations, recorder: Recorder
) -> dict[str, float]:
    """Pretrains where the cell says so, and trains on few labels."""
    pretrained, prefix = cell.options["pretrained"], ""
    if pretrained:
        _trained(context, config, durations, recorder)
        prefix = checkpoints.resolve(config.runtime.directory)
    seen = durations.train_steps * config.data.train_batch_size
    return few_label_measures(context, context.scale, config, prefix, seen, pretrained=pretrained)


def _transferred(
    context: StudyContext, cell: StudyCell, config: ExperimentConfig, durations: Durations
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Evaluates what a cell starts from on its data set; the first cell that needs a pretraining does it."""
    start = cell.options["start"]
    directory = os.path.join(context.networks, f"{start}-seed{config.runtime.seed}")

    def train(shared: ExperimentConfig) -> str:
        _trained(context, shared, durations, Recorder(directory))
        return checkpoints.resolve(directory)

    pretrain = None if start == "random" else (lambda: pretrained_in(context, directory, config, train))
    return transferred(context, context.scale, context.sets[cell.options["set"]], config, context.flags, pretrain)


def _transformation_found(
    context: StudyContext, config: ExperimentConfig, model: SimCLRModel, cell: StudyCell, seed: int
) -> dict[str, float]:
    return predict_transformation(
        cell.options["transformation"],
        model,
        context.splits.train,
        context.splits.test,
        EvalLoader.of(config.data, context.strategy),
        seed=seed,
        most_images=MOST_TRANSFORMED,
    )


def _online(context: StudyContext, state: TrainState, recorder: Recorder) -> Callable[[int], None]:
    """Measures the model of a cell's training at a step, on the study's own splits."""
    plan = OnlinePlan(context.splits.train, context.splits.test, state.config.data, state.config.runtime.seed)
    evaluation = OnlineEvaluation(plan, state.model, context.strategy)
    return lambda step: recorder.on_window(step, evaluation.figures(*evaluation.features()))


def _classified(context: StudyContext, config: ExperimentConfig, model: SimCLRModel) -> dict[str, float]:
    """Accuracies of a network that was trained with labels."""
    loader = EvalLoader.of(config.data, context.strategy)
    values, labels = extracted(model, context.splits.test, loader, ("logits_sup",))
    return _accuracies(values["logits_sup"], labels)


def _accuracies(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1, and top-5 where there are more classes than that."""
    found = {"top_1": _top_1(logits, labels)}
    return found if logits.shape[1] <= TOP else found | {"top_5": top_k_accuracy(logits, labels, TOP)}


def _parameters(model: SimCLRModel) -> int:
    """Of the encoder, those that are trained."""
    return sum(int(np.prod(variable.shape)) for variable in model.encoder.trainable_variables)


def _top_1(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _represented(
    context: StudyContext, config: ExperimentConfig, model: SimCLRModel, *, linear_curves: bool
) -> tuple[dict[str, float], Curves]:
    """Measures of h, and of g(h) where there is a head, on features of the evaluation view."""
    endpoints = (H,) if config.model.proj_head_mode == "none" else (H, Z)
    extract, loader = build_extract(model, context.strategy, endpoints), EvalLoader.of(config.data, context.strategy)
    (train, train_labels), (test, test_labels) = (
        in_memory(extract, loader.batches(source), source) for source in (context.splits.train, context.splits.test)
    )
    probes: dict[str, Any] = {
        "num_classes": context.splits.train.num_classes,
        "epochs": SCALES[context.scale].linear_epochs,
        "seed": config.runtime.seed,
    }
    curves: Curves = {}

    def add(name: str, x: float, y: float) -> None:
        curve = curves.setdefault(name, {"x": [], "y": []})
        curve["x"].append(float(x))
        curve["y"].append(float(y))

    def test_top_1(endpoint: str, classifier: LinearClassifier) -> float:
        return _top_1(classifier.logits(test[endpoint]), test_labels)

    observers: dict[str, Any] = {
        "on_step": lambda done, total, loss: add("linear_loss", done, loss),
        "on_epoch": lambda epoch, classifier: add("linear_top_1", epoch, test_top_1(H, classifier)),
    }
    classifier = linear_probe(train[H], train_labels, **probes, **(observers if linear_curves else {}))
    k = min(K, len(train_labels))
    knn = knn_accuracies(test[H], test_labels, train[H], train_labels, ks=[k], temperatures=[TEMPERATURE])
    measures = {
        **_accuracies(classifier.logits(test[H]), test_labels),
        "train_top_1": _top_1(classifier.logits(train[H]), train_labels),
        "knn_top_1": knn[k, TEMPERATURE],
    }
    if Z in endpoints:
        measures["projection_top_1"] = test_top_1(Z, linear_probe(train[Z], train_labels, **probes))
    return measures, curves


def _histograms(context: StudyContext, cell: StudyCell, seed: int) -> tuple[dict[str, float], Curves]:
    config = build_config({**context.flags})
    histograms = crop_histograms(
        context.splits.train,
        images=min(cell.options["pictures"], context.splits.train.num_examples),
        crops=cell.options["crops"],
        image_size=config.data.image_size,
        color_jitter_strength=cell.options["strength"],
        seed=seed,
        min_crop_area=config.augmentation.min_crop_area,
    )
    return {"same_picture": nearest_is_own(histograms)}, histogram_curves(histograms)
