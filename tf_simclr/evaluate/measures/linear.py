"""Linear evaluation on stored features: the classifier of SimCLR's Appendix B.6, without running the encoder again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tf_simclr.errors import InputError, require_range
from tf_simclr.evaluate.measures.arrays import as_features, as_labels, require_finite, row_blocks
from tf_simclr.evaluate.measures.standardise import Standardiser

MOMENTUM = 0.9
# What a stored result of a linear probe depends on beside its arguments; part of the identity of whatever is kept.
PROBE = {"optimizer": f"Nesterov SGD {MOMENTUM:g}", "schedule": "cosine", "start": "zeros", "standardise": True}
_ROWS_AT_A_TIME = 65536


@dataclass(frozen=True)
class LinearClassifier:
    """Softmax regression.

    Attributes:
        kernel: float32 [d, classes].
        bias: float32 [classes].
        standardiser: of the features that the kernel multiplies; None: features as they are.
    """

    kernel: np.ndarray
    bias: np.ndarray
    standardiser: Standardiser | None = None

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] for features [n, d], n >= 1, which may be memory-mapped and larger than memory.

        Raises:
            InputError: a logit is not finite, by row: argmax would make a class of it.
        """
        found = []
        for rows in row_blocks(len(features), _ROWS_AT_A_TIME):
            with np.errstate(over="ignore", invalid="ignore"):  # the check says it
                found.append(_prepared(features[rows], self.standardiser) @ self.kernel + self.bias)
            require_finite("logits", found[-1], rows.start)
        return np.concatenate(found)


def _prepared(features: np.ndarray, standardiser: Standardiser | None) -> np.ndarray:
    plain = np.asarray(features, np.float32)
    return plain if standardiser is None else standardiser(plain)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _batches(num_examples: int, batch_size: int, num_batches: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch; they run across the ends of epochs, each in a seeded order of its own."""
    waiting: np.ndarray = np.zeros(0, np.int64)
    epoch = 0
    for _ in range(num_batches):
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, np.random.default_rng([seed, epoch]).permutation(num_examples)])
            epoch += 1
        yield np.sort(waiting[:batch_size])  # in the order of the file, which a disk reads faster
        waiting = waiting[batch_size:]


def _checked(features: np.ndarray, labels: np.ndarray, num_classes: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    if num_classes is None:
        num_classes = int(as_labels("labels", labels).max()) + 1
    require_range("num_classes", num_classes, at_least=2)
    features = as_features("features", features)
    return features, as_labels("labels", labels, rows=len(features), num_classes=num_classes), num_classes


def probe_batch_size(num_examples: int, most: int = 4096) -> int:
    """The images of a probe's step: `most`, but at most a quarter of all.

    With fewer steps an epoch the classifier of a small data set would be far from trained after all of them.
    """
    return min(most, max(num_examples // 4, 1))


@np.errstate(over="ignore", invalid="ignore")  # linear_probe says once that it diverged
def _descend(
    classifier: tuple[np.ndarray, np.ndarray],
    velocities: list[np.ndarray],
    h: np.ndarray,
    y: np.ndarray,
    *,
    rate: np.float32,
    weight_decay: float,
) -> float:
    """One step in place; the mean cross entropy before it, in nats."""
    kernel, bias = classifier
    errors = _softmax(h @ kernel + bias)
    loss = float(-np.mean(np.log(np.maximum(errors[np.arange(len(y)), y], 1e-30))))
    errors[np.arange(len(y)), y] -= 1.0
    gradients = (h.T @ errors / len(y) + weight_decay * kernel, errors.mean(axis=0))
    for parameter, velocity, gradient in zip(classifier, velocities, gradients, strict=True):
        velocity *= MOMENTUM
        velocity -= rate * gradient
        parameter += MOMENTUM * velocity - rate * gradient
    return loss


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int | None = None,
    *,
    epochs: float = 90.0,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    seed: int = 0,
    standardise: bool = True,
    on_step: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[int, LinearClassifier], None] | None = None,
) -> LinearClassifier:
    """Trains softmax regression from zeros by SGD with Nesterov momentum 0.9 and a cosine schedule without warm-up.

    The linear classifier of studies, of the protocol linear_cached and of the online evaluation: they differ in how
    long they train it, and in nothing else.

    Args:
        features: float32 [n, d], may be memory-mapped: one batch is read at a time.
        labels: int [n], each in [0, num_classes).
        num_classes: >= 2; None: one more than the largest label.
        epochs: > 0.
        batch_size: images a step, at most n; None: `probe_batch_size` of n.
        learning_rate: for a batch of 256; the first step's is learning_rate * batch_size / 256.
        weight_decay: l2 penalty of the kernel, >= 0.
        seed: of the order of the images.
        standardise: whether to train on features of mean 0 and variance 1, by the statistics of `features`. B.6 names
            none, and trains with images for long; a learning rate that suits the h of one encoder leaves the classifier
            of another, whose h is a hundred times smaller, where it started.
        on_step: called with (steps done, steps in all, mean cross entropy of the batch in nats).
        on_epoch: called with (whole epochs done, the classifier so far) after the step that ends them.

    Returns:
        the classifier.

    Raises:
        InputError: arrays that do not belong together, a number out of its range, features that are not finite, or
            training that diverged.

    Source: SimCLR, Appendix B.6, whose random crops and flips stored features cannot have.
    """
    require_range("epochs", epochs, above=0)
    require_range("learning_rate", learning_rate, above=0)
    require_range("weight_decay", weight_decay, at_least=0)
    features, labels, num_classes = _checked(features, labels, num_classes)
    batch_size = probe_batch_size(len(labels)) if batch_size is None else batch_size
    require_range("batch_size", batch_size, at_least=1, at_most=len(labels))
    kernel = np.zeros((features.shape[1], num_classes), np.float32)
    bias: np.ndarray = np.zeros(num_classes, np.float32)
    velocities = [np.zeros_like(kernel), np.zeros_like(bias)]
    standardiser = Standardiser.of(features) if standardise else None
    steps = max(1, int(len(labels) * epochs // batch_size))
    peak = learning_rate * batch_size / 256
    for step, rows in enumerate(_batches(len(labels), batch_size, steps, seed)):
        rate = np.float32(0.5 * peak * (1 + math.cos(math.pi * step / steps)))
        batch = _prepared(features[rows], standardiser), labels[rows]
        loss = _descend((kernel, bias), velocities, *batch, rate=rate, weight_decay=weight_decay)
        if not math.isfinite(loss):
            break
        if on_step is not None:
            on_step(step + 1, steps, loss)
        epoch = (step + 1) * batch_size // len(labels)
        if on_epoch is not None and epoch > step * batch_size // len(labels):
            on_epoch(epoch, LinearClassifier(kernel.copy(), bias.copy(), standardiser))
    if not (math.isfinite(loss) and np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise InputError(
            "the linear classifier diverged: its weights are no numbers. Received: "
            f"learning_rate={learning_rate}, features up to {np.abs(features).max():g}. Pass a smaller learning rate"
        )
    return LinearClassifier(kernel, bias, standardiser)
