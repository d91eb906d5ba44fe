"""The protocols on frozen features: nearest neighbours, a linear classifier, logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tf_simclr.evaluate.cells import Verdict, measured
from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.judging import Judging
from tf_simclr.evaluate.knn import knn_predictions
from tf_simclr.evaluate.linear import train_linear
from tf_simclr.evaluate.logistic_regression import StrengthFit, fit_logistic_regression

# What a protocol returns: for each of its settings, as a person reads it, the fields of a cell.
Found = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of one endpoint of one encoder, of every split."""

    train: Features
    test: Features
    validation: Features | None


def knn(judging: Judging, features: FrozenFeatures, seed: int) -> Found:
    """A vote of the k nearest neighbours, for every k and temperature, in one pass."""
    del seed
    predictions = knn_predictions(
        features.test.features,
        features.train.features,
        features.train.labels,
        ks=judging.protocols.ks,
        temperatures=judging.protocols.knn_temperatures,
        num_classes=judging.num_classes,
    )
    return [
        (f"k={k}, T={t:g}", measured(Verdict(predicted), features.test.labels, judging.num_classes))
        for (k, t), predicted in predictions.items()
    ]


def linear_cached(judging: Judging, features: FrozenFeatures, seed: int) -> Found:
    """SGD on stored features of the evaluation view (SimCLR, Appendix B.6, without its crops and flips)."""
    settings = judging.protocols
    batch = min(settings.linear_batch_size, len(features.train.labels))
    with judging.reporter.counting("linear classifier") as count:
        classifier = train_linear(
            features.train.features,
            features.train.labels,
            judging.num_classes,
            epochs=settings.linear_epochs,
            batch_size=batch,
            learning_rate=settings.linear_learning_rate,
            seed=seed,
            on_step=lambda done, total, loss: count(done, total),
        )
    logits = classifier.logits(features.test.features)
    details = {"batch_size": batch, "epochs": settings.linear_epochs, "learning_rate": settings.linear_learning_rate}
    verdict = Verdict(logits.argmax(axis=1), logits, details)
    return [("", measured(verdict, features.test.labels, judging.num_classes))]


def logreg(judging: Judging, features: FrozenFeatures, seed: int) -> Found:
    """L-BFGS with the l2 strength chosen on a validation split (SimCLR, Appendix B.8)."""
    validation, tried = features.validation, []
    with judging.reporter.counting("logistic regression") as count:

        def on_fit(fit: StrengthFit) -> None:
            tried.append(fit)
            count(len(tried), len(judging.protocols.l2_strengths))

        fitted = fit_logistic_regression(
            features.train.features,
            features.train.labels,
            num_classes=judging.num_classes,
            validation=None if validation is None else (validation.features, validation.labels),
            seed=seed,
            l2_strengths=judging.protocols.l2_strengths,
            metric=judging.metric,
            max_iterations=judging.protocols.logreg_iterations,
            progress=on_fit,
        )
    scores = fitted.scores(features.test.features)
    best = max(fit.validation for fit in fitted.path)
    details = {
        "l2": fitted.l2,
        "validation": best,
        "converged": fitted.converged,
        "iterations": fitted.iterations,
        "strengths_tried": len(fitted.path),
        "strengths_not_converged": [fit.l2 for fit in fitted.path if not fit.converged],
    }
    if not fitted.converged:
        judging.reporter.say(
            f"note: the last fit, l2={fitted.l2:.3g}, did not reach its tolerance in {fitted.iterations} iterations: "
            "its accuracy may still move; pass a larger --logreg_iterations"
        )
    verdict = Verdict(scores.argmax(axis=1), scores, details)
    return [("", measured(verdict, features.test.labels, judging.num_classes))]


RUN: dict[str, Callable[[Judging, FrozenFeatures, int], Found]] = {
    "knn": knn,
    "linear_cached": linear_cached,
    "logreg": logreg,
}
