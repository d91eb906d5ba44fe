"""Logistic regression on frozen features of images that may show several classes: VOC2007 in SimCLR's B.8.

Each class has a classifier of its own, one against the rest. For weights w [d], bias b and l2 strength lambda it
minimises

    sum over the images that count for the class of log(1 + exp(-y (w h + b)))  +  lambda / 2 ||w||^2

where h are the features moved and scaled to mean 0 and variance 1 over all images of the fit, and y is 1 for a
image that shows the class and -1 for one that does not; an ignored image does not count.
scikit-learn's C is 1 / lambda. One strength, that of the highest 11-point mAP on the validation part, serves all
classes: the paper picks one for a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_simclr.data.source import MultiLabel
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.logistic_regression import LinearFit, checked_features
from tf_simclr.evaluate.measures.metrics import mean_average_precision
from tf_simclr.evaluate.measures.scikit_learn import fit_model, new_model
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.evaluate.measures.strengths import (
    L2_STRENGTHS,
    PATH_TOLERANCE,
    StrengthFit,
    best_of,
    check_settings,
    follow_path,
)

_DRAWS = 100


def fit_one_vs_rest(
    features: npt.ArrayLike,
    targets: MultiLabel,
    *,
    validation: tuple[npt.ArrayLike, MultiLabel] | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    l2_strengths: Iterable[float] = L2_STRENGTHS,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
    progress: Callable[[StrengthFit], None] | None = None,
) -> LinearFit:
    """Chooses the l2 strength on a validation part, then fits once more on all images with it.

    Features are standardised, and strengths tried and chosen, as by `fit_logistic_regression`. The last fit starts from
    zero. The features are held in float64, three times.

    Args:
        features: real numbers [n, d], as they are.
        targets: of the same images. An image that is ignored for a class takes no part in that class's fit.
        validation: features [m, d] and targets of the validation part; `features` is then the training part. None:
            `multi_label_split` takes it out of `features`.
        validation_fraction: of that split, in (0, 1).
        seed: of that split.
        l2_strengths: lambdas > 0, in any order; the paper's 45.
        max_iterations: of each fit, >= 1.
        tolerance: as there.
        progress: called with each strength when all its classes are fitted.

    Returns:
        LinearFit. Its `scores` rank images within a class. `iterations` are those of the class that took most, and
        `converged` is whether all classes did; likewise in `path`, whose `validation` is the mAP.

    Raises:
        InputError: scikit-learn is missing, features and targets do not match, a class lacks an image that shows it,
            or, for training, one that does not.
    """
    strengths = sorted(l2_strengths, reverse=True)
    check_settings(strengths, max_iterations, tolerance)
    train = _checked("features", "targets", features, targets)
    if validation is None:
        parts = multi_label_split(targets, validation_fraction, seed)
        train, held_out = ((train[0][part], train[1].rows(part)) for part in parts)
    else:
        held_out = _checked("validation features", "validation targets", *validation, like=train)
    _require_both_kinds(train[1])
    _require_shown("validation", held_out[1])

    def new_models(gradient: float) -> list[Any]:
        return [new_model(max_iterations, gradient) for _ in range(targets.positives.shape[1])]

    fit = _one_strength(new_models(PATH_TOLERANCE * tolerance), train, held_out)
    path = follow_path(strengths, fit, progress=progress)
    del fit  # and with it the features that it holds
    l2, final = best_of(path).l2, new_models(tolerance)
    both = MultiLabel(
        np.concatenate([train[1].positives, held_out[1].positives]),
        np.concatenate([train[1].ignored, held_out[1].ignored]),
    )
    together = np.concatenate([train[0], held_out[0]])
    scaled = Standardiser.of(together)
    iterations, converged = _fit_classes(final, scaled(together), both, l2)
    weights, biases = scaled.folded(*_weights_of(final))
    return LinearFit(weights, biases, l2, path, tuple(strengths[len(path) :]), iterations, converged)


def _one_strength(
    models: list[Any], train: tuple[np.ndarray, MultiLabel], held_out: tuple[np.ndarray, MultiLabel]
) -> Callable[[float], StrengthFit]:
    """A function that fits all models to the training part with a strength, and measures the mAP on validation."""
    scaled, truth = Standardiser.of(train[0]), held_out[1]
    x, x_held_out = scaled(train[0]), scaled(held_out[0])

    def fit(l2: float) -> StrengthFit:
        fitted = _fit_classes(models, x, train[1], l2)
        weights, biases = _weights_of(models)
        scores = x_held_out @ weights.T + biases
        value = mean_average_precision(scores, truth.positives, ignored=truth.ignored)
        losses = np.logaddexp(0, np.where(truth.positives, -scores, scores))
        return StrengthFit(l2, *fitted, value, float(losses[~truth.ignored].mean()))

    return fit


def multi_label_split(targets: MultiLabel, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images of a training and a validation part, both sorted; both show every class.

    Iterative stratification (Sechidis et al., On the Stratification of Multi-Label Data, ECML 2011), image by
    image: of the class with the fewest images left one is drawn, and goes where that class misses most.

    Args:
        targets: of n images.
        fraction: of the images of each class that go to validation, in (0, 1), rounded and met as well as the other
            classes of the same images allow, but at least one and not all.
        seed: the same seed gives the same split.

    Returns:
        int64 [n - m] and int64 [m].

    Raises:
        InputError: a fraction out of range, a class that fewer than two images show, or no such split was found.
    """
    if not 0 < fraction < 1:
        raise InputError(f"`validation_fraction` must be > 0 and < 1. Received: validation_fraction={fraction}")
    sizes = targets.positives.sum(axis=0)
    if sizes.min() < 2:
        raise InputError(
            "Every class must be shown by an image for training and by one for validation. Received: "
            f"{sizes.min()} of class {np.argmin(sizes)}. Add images, or pass a validation split"
        )
    for draw in range(_DRAWS):
        held_out = _drawn(targets.positives, fraction, np.random.default_rng([seed, draw]))
        if all(targets.positives[part].any(axis=0).all() for part in (held_out, ~held_out)):
            return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    raise InputError(
        f"Every class must be shown by an image for training and by one for validation. Received: classes that share "
        f"their few images, so that none of {_DRAWS} draws parted them. Add images, or pass a validation split"
    )


def _drawn(positives: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Which of the images with these classes, bool [n, classes], are held out in one draw: bool [n]."""
    rows, sizes = len(positives), positives.sum(axis=0)
    # What is missing in the two parts, training and validation: images of each class [2, classes], and images [2].
    for_validation = np.clip(np.rint(fraction * sizes), 1, sizes - 1)
    missing = np.stack([sizes - for_validation, for_validation])
    all_held_out = max(round(fraction * rows), 1)
    room = np.array([rows - all_held_out, all_held_out])
    held_out: np.ndarray = np.zeros(rows, bool)
    left = positives.copy()
    in_class = sizes.copy()
    while in_class.any():
        rarest = np.argmin(np.where(in_class > 0, in_class, rows + 1))
        row = rng.choice(np.flatnonzero(left[:, rarest]))
        classes = positives[row]
        wishes = [(missing[part, rarest], missing[part, classes].sum(), room[part], rng.random()) for part in (0, 1)]
        part = int(wishes[1] > wishes[0])
        held_out[row] = part == 1
        missing[part, classes] -= 1
        room[part] -= 1
        left[row] = False
        in_class[classes] -= 1
    without_class = rng.permutation(np.flatnonzero(~positives.any(axis=1)))
    held_out[without_class[: max(room[1], 0)]] = True
    return held_out


def _fit_classes(models: list[Any], features: np.ndarray, targets: MultiLabel, l2: float) -> tuple[int, bool]:
    """Fits the classifier of every class; the most iterations of one, and whether all converged."""
    fits = []
    for model, shown, ignored in zip(models, targets.positives.T, targets.ignored.T, strict=True):
        fits.append(fit_model(model, features, shown.astype(np.int64), 1 / l2, ~ignored if ignored.any() else None))
    return max(iterations for iterations, _ in fits), all(converged for _, converged in fits)


def _weights_of(models: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Weights [classes, d] and biases [classes] of fitted estimators."""
    return np.concatenate([model.coef_ for model in models]), np.concatenate([model.intercept_ for model in models])


def _checked(
    features_name: str,
    targets_name: str,
    features: npt.ArrayLike,
    targets: MultiLabel,
    like: tuple[np.ndarray, MultiLabel] | None = None,
) -> tuple[np.ndarray, MultiLabel]:
    """Features in float64 with their targets; `like` is the training part, whose columns they must have."""
    x = checked_features(features_name, features, None if like is None else like[0].shape[1])
    rows, classes = targets.positives.shape
    if rows != len(x) or classes < 1 or (like is not None and classes != like[1].positives.shape[1]):
        wanted = "one column a class" if like is None else f"{like[1].positives.shape[1]} classes"
        raise InputError(
            f"`{targets_name}` must have one row for each of {len(x)} images and {wanted}. Received: shape "
            f"{targets.positives.shape}. Pass both from the same split, in the same order"
        )
    return x, targets


def _require_shown(part: str, targets: MultiLabel) -> None:
    shown = targets.positives.any(axis=0)
    if not shown.all():
        raise InputError(
            f"Every class must be shown by a {part} image. Received: none of class {np.argmin(shown)}. Choose splits "
            "that have it"
        )


def _require_both_kinds(targets: MultiLabel) -> None:
    """Raises InputError where the training part leaves a class without an image of either kind."""
    _require_shown("training", targets)
    others = (~targets.positives & ~targets.ignored).any(axis=0)
    if not others.all():
        raise InputError(
            f"Every class must be absent from a training image. Received: class {np.argmin(others)} in all that "
            "count. Leave the class out, or add images without it"
        )
