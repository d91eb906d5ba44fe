"""Which transformation an image underwent, recognised from h and from g(h) by a small network each.

The contrastive loss asks g(h) to be the same for all views of an image, so g may drop what tells the views apart; h
need not. An MLP that finds the transformation in h and not in g(h) shows that it did.

Source: SimCLR, Section 4.2 and Table 3, which does not say how large the MLP is or how it is trained.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tf_simclr.config import eval_crop_for
from tf_simclr.data import fingerprint
from tf_simclr.data.operators import ColorDrop, Draw, Noise, Operator, Rotate, Sobel
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import chosen_at_random
from tf_simclr.data.views import ViewPolicy, apply_batch, draw_view
from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import extracted
from tf_simclr.evaluate.measures.arrays import require_finite
from tf_simclr.evaluate.measures.metrics import accuracy
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.ops.draws import MAX_VIEWS, example_key
from tf_simclr.optional import require_scikit_learn

Role = Literal["train", "test"]


@dataclass(frozen=True)
class _Task:
    """A transformation, and what is asked about it.

    Attributes:
        operator: it is drawn for every image.
        answer: the draw that says what was done: bool, or a number from 0 on.
        answers: names of its values.
    """

    operator: Operator
    answer: str
    answers: tuple[str, ...]


_TASKS = {
    # As often as in pretraining: the most frequent answer is 80%, as in the paper.
    "color_or_grey": _Task(ColorDrop(), "gray", ("colour", "grey")),
    "rotation": _Task(Rotate(), "turns", ("0 degrees", "90 degrees", "180 degrees", "270 degrees")),
    "noise": _Task(Noise(probability=0.5), "noise", ("original", "noisy")),
    "sobel": _Task(Sobel(probability=0.5), "sobel", ("original", "Sobel-filtered")),
}
TASKS: tuple[str, ...] = tuple(_TASKS)

_ENDPOINTS = {"from_h": "final_avg_pool", "from_projection": "proj_head_output"}
# The numbers of views that pretraining reaches last, so that no image gets the draws it was pretrained with.
_VIEWS: dict[Role, int] = {"train": MAX_VIEWS - 2, "test": MAX_VIEWS - 1}

HIDDEN_UNITS = 512
MOST_EPOCHS = 100
_BATCH = 64
_VALIDATION = 0.1
_PATIENCE = 10
# Of every answer: a validation part of a tenth has one of each then, about.
LEAST_IMAGES = 10

_plain = tf.autograph.experimental.do_not_convert


def predict_transformation(
    task: str,
    model: SimCLRModel,
    train: ImageSource,
    test: ImageSource,
    loader: EvalLoader,
    *,
    seed: int,
    most_images: int | None = None,
) -> dict[str, float]:
    """How well the transformation of an image can be recognised from its representations.

    Args:
        task: one of TASKS.
        model: pretrained, with a projection head; no variable changes.
        train: images that the MLPs are trained on; their labels are not used.
        test: images that they are measured on.
        loader: its devices are those that the model was made on. Every worker must call this, and gets the same
            numbers.
        seed: the transformations, the choice of images and the MLPs depend on it.
        most_images: of each split, chosen at random where it has more; None for all.

    Returns:
        accuracies on the test images in [0, 1]: "from_h", "from_projection", and "chance", the share of the answer
        that is most frequent there.

    Raises:
        InputError: an unknown task, no scikit-learn, a number out of range, or too few training images.

    Source: SimCLR, Table 3.
    """
    require_choice("task", task, TASKS)
    require_scikit_learn("neural_network", "Predicting transformations")
    splits: dict[Role, ImageSource] = {"train": train, "test": test}
    sources = {
        role: transformed_source(
            task,
            source,
            role,
            image_size=loader.image_size,
            seed=seed,
            most_images=most_images,
            eval_crop=loader.eval_crop,
        )
        for role, source in splits.items()
    }
    loader = dataclasses.replace(loader, eval_crop=1.0)  # the transformed images have their final size
    found = {role: extracted(model, source, loader, tuple(_ENDPOINTS.values())) for role, source in sources.items()}
    (train_features, train_answers), (test_features, test_answers) = found["train"], found["test"]
    _require_every_answer(train_answers, sources["train"])
    accuracies = {
        name: accuracy(
            _mlp_predictions(train_features[endpoint], train_answers, test_features[endpoint], seed), test_answers
        )
        for name, endpoint in _ENDPOINTS.items()
    }
    return accuracies | {"chance": float(np.bincount(test_answers).max() / len(test_answers))}


def transformed_source(
    task: str,
    source: ImageSource,
    role: Role,
    *,
    image_size: int,
    seed: int,
    most_images: int | None = None,
    eval_crop: float | None = None,
) -> ImageSource:
    """The same images, as evaluation sees them, transformed; the label of each is the answer.

    What happens to an image depends on (seed, its index, role) alone, not on the other images or their order.

    Args:
        task: one of TASKS.
        source: with labels or without.
        role: "train" or "test".
        image_size: side of the transformed images.
        seed: see above.
        most_images: chosen at random where there are more; None for all.
        eval_crop: as in `EvalLoader`.

    Returns:
        a source whose images have one size and whose classes are the answers.

    Raises:
        InputError: an unknown task, or a number out of range.
    """
    require_choice("task", task, TASKS)
    require_choice("role", role, _VIEWS)
    asked = _TASKS[task]
    policy = ViewPolicy(image_size, composition=(asked.operator,), crop_probability=0.0)
    shape = (image_size, image_size, 3)
    crop = eval_crop_for(image_size, eval_crop)

    def draw_of(index: tf.Tensor) -> Draw:
        return draw_view(policy, example_key(seed, 0, index, _VIEWS[role]), shape)

    def answered(record: dict[str, Any]) -> dict[str, Any]:
        return record | {"label": tf.cast(draw_of(record["index"])[asked.answer], tf.int64)}

    def with_index(record: dict[str, Any]) -> dict[str, Any]:
        return record | {"data": (record["data"], record["index"])}

    def decode(data: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, index = data
        view = evaluation_view(source.decode(image), image_size, crop)
        return apply_batch(policy, view, draw_of(index))

    labelled = dataclasses.replace(
        source,
        num_classes=len(asked.answers),
        class_names=asked.answers,
        records=lambda seed: source.records(seed).map(_plain(answered), tf.data.AUTOTUNE),
        load=None,
        read=None,
        fingerprint=fingerprint.of_facts("transformed", task, role, image_size, seed, source.fingerprint),
        targets=None,
    )
    chosen = _at_most(labelled, most_images, seed)
    return dataclasses.replace(
        chosen,
        image_shape=shape,
        records=lambda seed: chosen.records(seed).map(_plain(with_index)),
        decode=decode,
        load=None,
    )


def _at_most(source: ImageSource, most_images: int | None, seed: int) -> ImageSource:
    if most_images is None:
        return source
    require_range("most_images", most_images, at_least=1)
    if source.num_examples <= most_images:
        return source
    return chosen_at_random(source, most_images, seed=seed).source


def _require_every_answer(answers: np.ndarray, source: ImageSource) -> None:
    counts = np.bincount(answers, minlength=source.num_classes)
    if counts.min() < LEAST_IMAGES:
        raise InputError(
            f"Training an MLP needs at least {LEAST_IMAGES} images of every answer. Received: {counts.min()} of "
            f"{source.class_names[int(counts.argmin())]!r} among {len(answers)} images of {source.name}, "
            f"{source.split}. Take more images"
        )


def _mlp_predictions(train: np.ndarray, answers: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Answers int64 [m] to test features [m, d], of an MLP trained on features [n, d] and answers [n].

    It stops when the accuracy on a tenth of the training images no longer improves, and keeps the weights that were
    best there: features without information then give the most frequent answer, not answers learnt by heart.
    """
    require_finite("test features", test)
    network = require_scikit_learn("neural_network", "Predicting transformations").MLPClassifier(
        (HIDDEN_UNITS,),
        batch_size=min(_BATCH, len(train)),
        max_iter=MOST_EPOCHS,
        early_stopping=True,
        validation_fraction=_VALIDATION,
        n_iter_no_change=_PATIENCE,
        random_state=seed % 2**32,
    )
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    scaled = Standardiser.of(train, "training features")
    # The products of so small batches are faster on one thread than on several that wait for each other.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last epoch is an end like any other
        # scikit-learn takes Ctrl-C for the end of training, and only warns.
        warnings.filterwarnings("error", "Training interrupted by user", UserWarning)
        try:
            network.fit(scaled(train), answers)
        except UserWarning as interrupted:
            raise KeyboardInterrupt from interrupted
        return network.predict(scaled(test))
