"""The protocols on frozen features: nearest neighbours, a linear classifier, logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tf_simclr.evaluate.cells import Verdict, measured, measured_multi_label
from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.judging import Judging
from tf_simclr.evaluate.knn import knn_votes
from tf_simclr.evaluate.linear import train_linear
from tf_simclr.evaluate.logistic_regression import LinearFit, fit_logistic_regression
from tf_simclr.evaluate.multi_label import fit_one_vs_rest
from tf_simclr.evaluate.strengths import StrengthFit, best_of

# What a protocol returns: for each of its settings, as a person reads it, the fields of a cell.
Found = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of one endpoint of one encoder, of every split."""

    train: Features
    test: Features
    validation: Features | None


def knn(judging: Judging, features: FrozenFeatures, seed: int) -> Found:
    """A vote of the k nearest neighbours, for every k (at most all images) and temperature, in one pass."""
    del seed
    votes = knn_votes(
        features.test.features,
        features.train.features,
        features.train.labels,
        ks=judging.ks,
        temperatures=judging.protocols.knn_temperatures,
        num_classes=judging.num_classes,
    )
    return [
        (
            f"k={k}, T={t:g}",
            measured(
                Verdict(vote.classes, probabilities=vote.shares),
                features.test.labels,
                judging.num_classes,
            ),
        )
        for (k, t), vote in votes.items()
    ]


def linear_cached(judging: Judging, features: FrozenFeatures, seed: int) -> Found:
    """SGD on stored, standardised features of the evaluation view (SimCLR, Appendix B.6, no crops and flips)."""
    settings = judging.protocols
    # With fewer steps an epoch the classifier of a small data set would be far from trained after all of them.
    batch = min(settings.linear_batch_size, max(len(features.train.labels) // 4, 1))
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
    fit = _fit_single_label if judging.splits.train.targets is None else _fit_multi_label
    tried: list[StrengthFit] = []
    with judging.reporter.counting("logistic regression") as count:

        def on_fit(strength: StrengthFit) -> None:
            tried.append(strength)
            count(len(tried), len(judging.protocols.l2_strengths))

        settings = {
            "seed": seed,
            "l2_strengths": judging.protocols.l2_strengths,
            "max_iterations": judging.protocols.logreg_iterations,
            "progress": on_fit,
        }
        fitted = fit(judging, features, settings)
    details = _how_it_was_fitted(judging, fitted)
    scores = fitted.scores(features.test.features)
    if judging.splits.test.targets is not None:
        return [("", measured_multi_label(scores, judging.splits.test.targets(), details))]
    verdict = Verdict(scores.argmax(axis=1), scores, details)
    return [("", measured(verdict, features.test.labels, judging.num_classes))]


def _fit_single_label(judging: Judging, features: FrozenFeatures, settings: dict[str, Any]) -> LinearFit:
    validation = features.validation
    return fit_logistic_regression(
        features.train.features,
        features.train.labels,
        num_classes=judging.num_classes,
        validation=None if validation is None else (validation.features, validation.labels),
        metric=judging.metric,
        **settings,
    )


def _fit_multi_label(judging: Judging, features: FrozenFeatures, settings: dict[str, Any]) -> LinearFit:
    train, held = judging.splits.train.targets, judging.splits.validation
    assert train is not None
    validation = None
    if held is not None and held.targets is not None and features.validation is not None:
        validation = (features.validation.features, held.targets())
    return fit_one_vs_rest(features.train.features, train(), validation=validation, **settings)


def _how_it_was_fitted(judging: Judging, fitted: LinearFit) -> dict[str, Any]:
    """A cell's details; says so where the last fit may still move."""
    if not fitted.converged:
        judging.reporter.say(
            f"note: the last fit, l2={fitted.l2:.3g}, did not reach its tolerance in {fitted.iterations} iterations: "
            "its accuracy may still move; pass a larger --logreg_iterations"
        )
    return {
        "l2": fitted.l2,
        "validation": best_of(fitted.path).validation,
        "converged": fitted.converged,
        "iterations": fitted.iterations,
        "strengths_tried": len(fitted.path),
        "strengths_not_tried": list(fitted.not_tried),
        "strengths_not_converged": [fit.l2 for fit in fitted.path if not fit.converged],
    }


RUN: dict[str, Callable[[Judging, FrozenFeatures, int], Found]] = {
    "knn": knn,
    "linear_cached": linear_cached,
    "logreg": logreg,
}
