"""The protocols on frozen features: nearest neighbours, a linear classifier, logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.measures.knn import knn_votes
from tf_simclr.evaluate.measures.linear import linear_probe, probe_batch_size
from tf_simclr.evaluate.measures.logistic_regression import LinearFit, fit_logistic_regression
from tf_simclr.evaluate.measures.multi_label import fit_one_vs_rest
from tf_simclr.evaluate.measures.strengths import StrengthFit, best_of
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.records import measured, measured_multi_label

# What a protocol returns: for each of its settings, as a person reads it, the fields of a record.
Found = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of one endpoint of one encoder, of every split."""

    train: Features
    test: Features
    validation: Features | None


def knn(context: EvaluationContext, features: FrozenFeatures, seed: int) -> Found:
    """A vote of the k nearest neighbours, for every k (at most all images) and temperature, in one pass."""
    del seed
    votes = knn_votes(
        features.test.features,
        features.train.features,
        features.train.labels,
        ks=context.ks,
        temperatures=context.protocols.knn_temperatures,
        num_classes=context.num_classes,
    )
    truth = features.test.labels, context.num_classes
    return [
        (f"k={k}, T={t:g}", measured(vote.classes, *truth, probabilities=vote.shares)) for (k, t), vote in votes.items()
    ]


def linear_cached(context: EvaluationContext, features: FrozenFeatures, seed: int) -> Found:
    """SGD on stored, standardised features of the evaluation view (SimCLR, Appendix B.6, no crops and flips)."""
    settings = context.protocols
    batch = probe_batch_size(len(features.train.labels), settings.linear_batch_size)
    with context.reporter.counting("linear classifier") as count:
        classifier = linear_probe(
            features.train.features,
            features.train.labels,
            context.num_classes,
            epochs=settings.linear_epochs,
            batch_size=batch,
            learning_rate=settings.linear_learning_rate,
            seed=seed,
            on_step=lambda done, total, loss: count(done, total),
        )
    logits = classifier.logits(features.test.features)
    details = {"batch_size": batch, "epochs": settings.linear_epochs, "learning_rate": settings.linear_learning_rate}
    truth = features.test.labels, context.num_classes
    return [("", measured(logits.argmax(axis=1), *truth, scores=logits, details=details))]


def logreg(context: EvaluationContext, features: FrozenFeatures, seed: int) -> Found:
    """L-BFGS with the l2 strength chosen on a validation split (SimCLR, Appendix B.8)."""
    fit = _fit_single_label if context.splits.train.targets is None else _fit_multi_label
    tried: list[StrengthFit] = []
    with context.reporter.counting("logistic regression") as count:

        def on_fit(strength: StrengthFit) -> None:
            tried.append(strength)
            count(len(tried), len(context.protocols.l2_strengths))

        settings = {
            "seed": seed,
            "l2_strengths": context.protocols.l2_strengths,
            "max_iterations": context.protocols.logreg_iterations,
            "progress": on_fit,
        }
        fitted = fit(context, features, settings)
    details = _how_it_was_fitted(context, fitted)
    scores = fitted.scores(features.test.features)
    if context.splits.test.targets is not None:
        return [("", measured_multi_label(scores, context.splits.test.targets(), details))]
    truth = features.test.labels, context.num_classes
    return [("", measured(scores.argmax(axis=1), *truth, scores=scores, details=details))]


def _fit_single_label(context: EvaluationContext, features: FrozenFeatures, settings: dict[str, Any]) -> LinearFit:
    validation = features.validation
    return fit_logistic_regression(
        features.train.features,
        features.train.labels,
        num_classes=context.num_classes,
        validation=None if validation is None else (validation.features, validation.labels),
        metric=context.metric,
        **settings,
    )


def _fit_multi_label(context: EvaluationContext, features: FrozenFeatures, settings: dict[str, Any]) -> LinearFit:
    train, held = context.splits.train.targets, context.splits.validation
    assert train is not None
    validation = None
    if held is not None and held.targets is not None and features.validation is not None:
        validation = (features.validation.features, held.targets())
    return fit_one_vs_rest(features.train.features, train(), validation=validation, **settings)


def _how_it_was_fitted(context: EvaluationContext, fitted: LinearFit) -> dict[str, Any]:
    """A record's details; says so where the last fit may still move."""
    if not fitted.converged:
        context.reporter.say(
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


RUN: dict[str, Callable[[EvaluationContext, FrozenFeatures, int], Found]] = {
    "knn": knn,
    "linear_cached": linear_cached,
    "logreg": logreg,
}
