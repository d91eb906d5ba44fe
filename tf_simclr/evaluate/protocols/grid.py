"""Transfer by fine-tuning: learning rate and weight decay from a grid (SimCLR, Appendix B.8)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tf_simclr.data.source import ImageSource
from tf_simclr.data.subset import hold_out
from tf_simclr.errors import DivergedError, InputError
from tf_simclr.evaluate.protocols.context import EvaluationContext
from tf_simclr.evaluate.protocols.whole_network import Training, batch_of, evaluated_on, trained_model
from tf_simclr.files import read_json, remove_tree, write_json
from tf_simclr.stored import require_types

VALIDATION_SHARE = 0.1
_GRID_FILE = "grid.json"


@dataclass(frozen=True)
class _Kept:
    """What grid.json holds: a dictionary for each point that is done."""

    points: list[dict[str, Any]]


def finetune_grid(context: EvaluationContext, *, seed: int, directory: str, pretrained: bool = True) -> dict[str, Any]:
    """Fine-tunes for each point of the grid, takes the best on the validation split, and trains once more on all.

    Each point that is done is kept in grid.json, and its checkpoint removed.

    Args:
        context: what is evaluated.
        seed: of weights, order and augmentations, and of what is held out.
        directory: of what is trained.
        pretrained: whether each training starts from the checkpoint; otherwise from random weights, which Table 8 has
            for comparison, and the checkpoint is not read.

    Returns:
        the fields of a record of the test split.

    Raises:
        InputError: no point of the grid could be trained.
        StoppedError: somebody asked to stop.
    """
    part, validation = _parts(context, seed)
    path = os.path.join(directory, _GRID_FILE)
    kept = read_json(path) or {}
    require_types(kept, _Kept, path)
    done: list[dict[str, Any]] = kept.get("points", [])
    rates, decays = context.protocols.grid
    points = [(rate, decay) for rate in rates for decay in decays]
    for rate, decay in points[len(done) :]:
        context.reporter.say(f"    grid point {len(done) + 1} of {len(points)}: rate {rate:g}, weight decay {decay:g}")
        done.append(_point(context, _training(context, part, seed, (rate, decay), pretrained), validation, directory))
        write_json(path, {"points": done})
    finished = [point for point in done if point["validation"] is not None]
    if not finished:
        raise InputError(
            f"No point of the grid could be trained: all {len(done)} diverged. Received: grid_learning_rates={rates}. "
            "Pass smaller ones"
        )
    best = max(finished, key=lambda point: point["validation"])
    chosen = best["learning_rate"], best["weight_decay"]
    whole = _training(context, context.train_and_validation(), seed, chosen, pretrained)
    model, details = trained_model(context, whole, os.path.join(directory, "best"))
    return evaluated_on(context, model, context.splits.test, details | {"chosen": best, "grid": done})


def _parts(context: EvaluationContext, seed: int) -> tuple[ImageSource, ImageSource]:
    """What the points are trained on, and evaluated on."""
    if context.splits.validation is not None:
        return context.splits.train, context.splits.validation
    kept, held = hold_out(context.splits.train, VALIDATION_SHARE, seed=seed)
    return kept.source, held.source


def _training(
    context: EvaluationContext, source: ImageSource, seed: int, point: tuple[float, float], pretrained: bool
) -> Training:
    """20,000 steps of batch 256, with moving statistics that follow a small data set faster."""
    steps_per_epoch = max(source.num_examples / batch_of(context, source), 1.0)
    return Training(
        source=source,
        seed=seed,
        epochs=0.0,
        steps=context.protocols.grid_steps,
        learning_rate=point[0],
        weight_decay=point[1],
        pretrained=pretrained,
        batch_norm_decay=max(1 - 10 / steps_per_epoch, 0.9),
    )


def _point(context: EvaluationContext, training: Training, validation: ImageSource, directory: str) -> dict[str, Any]:
    """One point: what it reached on the validation split, None where it diverged."""
    own = os.path.join(directory, "point")
    point = {"learning_rate": training.learning_rate, "weight_decay": training.weight_decay}
    try:
        model, _ = trained_model(context, training, own)
        # The last update may be the one that diverges: then only what the network says of images shows it.
        reached = evaluated_on(context, model, validation, {})["metrics"][context.protocols.metric]
    except DivergedError as error:
        context.reporter.say(f"    {error}")
        reached = None
    else:
        context.reporter.say(f"    {context.protocols.metric} {reached:.1%} on the validation split")
    remove_tree(own)
    return point | {"validation": reached}
