"""Networks evaluated on other data sets, linearly and fine-tuned, with the metric of each (Table 8, Appendix B.8).

A network is pretrained once for all data sets, below `networks`. The evaluation is that of `python -m tf_simclr
evaluate` with --protocols=logreg,finetune_grid.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tf_simclr.config import ExperimentConfig, ProtocolConfig
from tf_simclr.data.source import ImageSource
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import InputError
from tf_simclr.evaluate.predictions import Predicted, labels_in_order
from tf_simclr.evaluate.protocols.context import EvaluationContext, Splits, WorkContext, open_splits
from tf_simclr.evaluate.protocols.grid import finetune_grid
from tf_simclr.evaluate.protocols.runner import Runner
from tf_simclr.evaluate.records import Record
from tf_simclr.studies.scales import SCALES
from tf_simclr.studies.transfer_sets import TransferSet

NETWORKS_DIRECTORY = "networks"
# Protocols of `evaluate`, and what a study calls their figures.
MEASURED = {"logreg": "transfer_linear", "finetune_grid": "transfer_finetuned"}
_GRID = "finetune_grid"


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """A data set with its images.

    Attributes:
        target: its name and metric.
        splits: its images.
    """

    target: TransferSet
    splits: Splits


def open_set(target: TransferSet, shared: Mapping[str, Any]) -> OpenedSet:
    """Opens the images of a data set.

    Args:
        target: the data set.
        shared: the study's flags, which say how images are read.

    Raises:
        InputError: naming the set: anything wrong with its images, or a metric that does not suit them.
    """
    try:
        splits = open_splits(target.data(shared), target.validation_split)
    except InputError as error:
        raise InputError(f"study_datasets, {target.name}: {error}") from error
    if (splits.train.targets is not None) != target.several:
        wanted = "map_11_point" if not target.several else "top_1 or mean_per_class"
        raise InputError(
            f"`study_datasets` must have a metric that suits the images. Received: {target.metric} for {target.name}. "
            f"Write {target.name}@METRIC with {wanted}"
        )
    return OpenedSet(target, splits)


def protocols_of(scale: str, target: TransferSet, seed: int, checkpoint: str) -> ProtocolConfig:
    """What is evaluated on a data set, and how."""
    names = ("logreg",) if target.several else tuple(MEASURED)
    return ProtocolConfig(
        checkpoint=checkpoint,
        protocols=",".join(names),
        eval_seeds=str(seed),
        metric=target.metric,
        validation_split=target.validation_split,
        find_twins=False,
        **SCALES[scale].transfer,
    )


def transferred(
    context: WorkContext,
    scale: str,
    opened: OpenedSet,
    config: ExperimentConfig,
    shared: Mapping[str, Any],
    pretrain: Callable[[], str] | None,
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Evaluates a start on a data set.

    Args:
        context: devices.
        scale: of the study.
        opened: the data set.
        config: of the start's pretraining; its directory receives what is trained on the data set.
        shared: the study's flags.
        pretrain: pretrains where that was not done, and returns the checkpoint; None for random weights.

    Returns:
        the figures in the metric of the set, and what was predicted for each test image, both by measure.

    Raises:
        InputError: an evaluation failed.
        StoppedError: somebody asked to stop.
    """
    prefix = "" if pretrain is None else pretrain()
    evaluation = EvaluationContext(
        splits=opened.splits,
        **{name: getattr(context, name) for name in ("strategy", "stop", "reporter")},
        protocols=protocols_of(scale, opened.target, config.runtime.seed, prefix or "."),
        data=opened.target.data(shared),
        runtime=config.runtime,
        origin=config,
        prefix=prefix,
        pictures_seen=0,
    )
    records = _records(evaluation, pretrained=pretrain is not None)
    test, metric = opened.splits.test, opened.target.metric
    measures = {MEASURED[record.protocol]: record.metrics[metric] for record in records}
    answers = {
        MEASURED[record.protocol]: answers_of(record.predicted, test) | {"metric": metric}
        for record in records
        if record.predicted is not None
    }
    return measures, answers


def _records(evaluation: EvaluationContext, *, pretrained: bool) -> list[Record]:
    if pretrained:
        records, failed = Runner(evaluation).run()
        if failed:
            raise InputError(failed[0])
        return records
    seed, directory = evaluation.runtime.seed, os.path.join(evaluation.runtime.directory, _GRID)
    fields = finetune_grid(evaluation, seed=seed, directory=directory, pretrained=False)
    return [Record(_GRID, "random", None, "", seed, **fields)]


def answers_of(predicted: Predicted, test: ImageSource) -> dict[str, Any]:
    """What was predicted, and what the images show, as JSON values."""
    if test.targets is not None and predicted.scores is not None:
        targets = test.targets()
        arrays = {"scores": predicted.scores, "positives": targets.positives, "ignored": targets.ignored}
        return {name: array.tolist() for name, array in arrays.items()}
    assert predicted.classes is not None, "images show one class each, or several"
    return {"classes": predicted.classes.tolist(), "labels": labels_in_order(test).tolist()}


def pretrained_in(
    context: WorkContext, directory: str, config: ExperimentConfig, train: Callable[[ExperimentConfig], str]
) -> str:
    """The checkpoint of a pretraining in a directory that all data sets share, trained where it is not finished.

    Args:
        context: says what is done.
        directory: of the pretraining.
        config: of the cell.
        train: trains to the end, or goes on, and returns the checkpoint.

    Raises:
        InputError: another process trains there.
    """
    with DirectoryLock(directory, context.reporter.say):
        return train(replace(config, runtime=replace(config.runtime, model_dir=directory)))
