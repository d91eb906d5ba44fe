"""Online evaluation: kNN and a linear classifier on h of the encoder as it is now, while it is pretrained.

Both learn from one fixed choice of training images, seen as evaluation sees them, and are asked about the whole
evaluation split. The encoder runs in inference mode: nothing of the run changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_simclr.config import DataConfig, ExperimentConfig
from tf_simclr.data.datasets import build_splits
from tf_simclr.data.source import ImageSource
from tf_simclr.data.splits import shared
from tf_simclr.data.subset import chosen_at_random
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import build_extract, in_memory
from tf_simclr.evaluate.measures.knn import knn_accuracies
from tf_simclr.evaluate.measures.linear import linear_probe
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Data
from tf_simclr.train.images import splits_of_online_data

KNN_TOP_1, LINEAR_TOP_1 = "eval/knn_top_1", "eval/linear_top_1"
ENDPOINT = "final_avg_pool"
# Of InstDisc's protocol, for the whole training split; a smaller gallery than k rows bounds it.
K, TEMPERATURE = 200, 0.1
# Not the 90 epochs and the batch of 4,096 of SimCLR's Appendix B.6: about 800 steps on 10,000 examples, in seconds.
LINEAR_EPOCHS, LINEAR_BATCH = 20.0, 256


@dataclass(frozen=True)
class LabelledFeatures:
    """h float32 [n, d] and labels int64 [n]."""

    h: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class OnlinePlan:
    """What online evaluation needs of a run.

    Attributes:
        gallery: labelled training images that kNN searches and the linear classifier learns from.
        queries: the evaluation split.
        data: size, crop and batches of the images.
        seed: of the order in which the linear classifier sees the gallery.
        folder: of --online_data_dir where both are of it; None where they are of the run's own images.
    """

    gallery: ImageSource
    queries: ImageSource
    data: DataConfig
    seed: int
    folder: str | None = None

    @property
    def other_folder(self) -> str:
        """Says where the images come from, unless they are the run's own."""
        return f" of --online_data_dir={as_text(self.folder)}" if self.folder else ""

    @property
    def k(self) -> int:
        """Neighbours that vote: 200, or the whole gallery where that is smaller."""
        return min(K, self.gallery.num_examples)

    def describe(self, steps: int) -> str:
        """What happens every so many steps, in a line."""
        reduced = f" in place of {K}, the size of the gallery" if self.k < K else ""
        every = "step" if steps == 1 else f"{steps} steps"
        return (
            f"online evaluation every {every} and at the end: kNN (k = {self.k}{reduced}; T = {TEMPERATURE:g}) and a "
            f"linear classifier, on h of {self.gallery.num_examples} training images{self.other_folder}"
        )


def open_online_data(config: ExperimentConfig, data: Data) -> Data:
    """The images that h is evaluated on: those of --online_data_dir where it is given, else the run's own.

    Args:
        config: the experiment.
        data: the run's own splits.

    Raises:
        InputError: a folder that cannot be used, or without labels of two or more classes.
    """
    sources = splits_of_online_data(config, lambda folder, eval_split: build_splits(folder, eval_split=eval_split))
    return data if sources is None else Data(sources.train, sources.evaluation)


def note_images_in_both(data: Data, online: Data) -> list[str]:
    """A line where images that h is evaluated on are pretrained on, too, which is no mistake but should be known."""
    if online.evaluation is None or online is data:
        return []
    common = shared(data.train, online.evaluation).size
    if not common:
        return []
    return [
        f"{common} of the {online.evaluation.num_examples} images of --online_data_dir that h is evaluated on are "
        "among the training images, without their labels"
    ]


def plan_online(config: ExperimentConfig, train: ImageSource, evaluation: ImageSource | None) -> OnlinePlan | None:
    """Chooses the gallery of a run; None where nothing is evaluated while training.

    Args:
        config: the experiment.
        train: training split.
        evaluation: evaluation split, None without any.

    Raises:
        InputError: no labels in one of the splits, fewer than two classes, or no evaluation split.
    """
    settings = config.evaluation
    if not settings.eval_every_epochs or config.runtime.mode == "eval":
        return None
    _require_labels(settings.eval_every_epochs, train, evaluation)
    assert evaluation is not None
    return _plan(config, train, evaluation)


def plan_at_the_end(config: ExperimentConfig, train: ImageSource, evaluation: ImageSource | None) -> OnlinePlan | None:
    """What kNN is measured on once a run has been pretrained; None where that cannot be, or was not asked for.

    Args:
        config: the experiment.
        train: training split.
        evaluation: evaluation split, None without any.
    """
    if config.runtime.mode != "train_then_eval" or config.train.train_mode != "pretrain":
        return None
    if evaluation is None or not (train.labelled and evaluation.labelled) or train.num_classes < 2:
        return None
    return _plan(config, train, evaluation)


def _plan(config: ExperimentConfig, train: ImageSource, evaluation: ImageSource) -> OnlinePlan:
    return OnlinePlan(
        gallery=chosen_at_random(train, config.evaluation.online_eval_examples, seed=config.data.data_seed).source,
        queries=evaluation,
        data=config.data,
        seed=config.data.data_seed,
        folder=config.evaluation.online_data_dir,
    )


def _require_labels(epochs: float, train: ImageSource, evaluation: ImageSource | None) -> None:
    received = f"Received: eval_every_epochs={epochs:g}, dataset={train.name}"
    if train.num_classes < 2:
        classes = "one class only" if train.labelled else "no labels"
        raise InputError(
            f"--eval_every_epochs needs labels of two or more classes. {received} with {classes}. Sort the images "
            "into one folder a class, or pass --eval_every_epochs=0"
        )
    if evaluation is None or not evaluation.labelled:
        raise InputError(
            f"--eval_every_epochs needs labels in an evaluation split. {received} without such a split. Pass one by "
            "--eval_split, or --eval_every_epochs=0"
        )


class OnlineEvaluation:
    """Measures a model again and again; its pass is traced once.

    Args:
        plan: what is measured on.
        model: read anew at every call; no variable changes.
        strategy: devices, those the model was made on.
    """

    def __init__(self, plan: OnlinePlan, model: SimCLRModel, strategy: tf.distribute.Strategy):
        self._plan = plan
        self._extract = build_extract(model, strategy, [ENDPOINT])
        loader = EvalLoader.of(plan.data, strategy)
        self._batches = [(source, loader.batches(source)) for source in (plan.gallery, plan.queries)]

    def features(self) -> tuple[LabelledFeatures, LabelledFeatures]:
        """h of the gallery and of the queries now. Every worker must call it, and gets all rows."""
        passes = (in_memory(self._extract, batches, source) for source, batches in self._batches)
        gallery, queries = (LabelledFeatures(found[ENDPOINT], labels) for found, labels in passes)
        return gallery, queries

    def figures(self, gallery: LabelledFeatures, queries: LabelledFeatures) -> dict[str, float]:
        """eval/knn_top_1 and eval/linear_top_1, in [0, 1]. One worker is enough.

        Raises:
            InputError: features that are not finite, or queries without labels.
        """
        knn = self.knn(gallery, queries)
        classifier = linear_probe(
            gallery.h,
            gallery.labels,
            self._plan.gallery.num_classes,
            epochs=LINEAR_EPOCHS,
            batch_size=min(LINEAR_BATCH, len(gallery.labels)),
            seed=self._plan.seed,
        )
        hits = classifier.logits(queries.h).argmax(axis=1) == queries.labels
        return {KNN_TOP_1: knn, LINEAR_TOP_1: float(hits.mean())}

    def knn(self, gallery: LabelledFeatures, queries: LabelledFeatures) -> float:
        """Top-1 accuracy of kNN in [0, 1]. One worker is enough.

        Raises:
            InputError: features that are not finite, or queries without labels.
        """
        found = knn_accuracies(
            queries.h, queries.labels, gallery.h, gallery.labels, ks=[self._plan.k], temperatures=[TEMPERATURE]
        )
        return found[self._plan.k, TEMPERATURE]
