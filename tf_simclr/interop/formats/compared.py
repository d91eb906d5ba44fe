"""How far what a format computes is from what the networks do. None of it needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tf_simclr.errors import InputError

INPUT = "inputs"
# Of the largest value, where that is above 1.
MOST_OF_FLOAT32 = 1e-4
_SMALLEST_SIDE = 8

Run = Callable[[np.ndarray], Mapping[str, Any]]
Answers = Mapping[str, np.ndarray]


def random_batches(image_size: int) -> Iterator[np.ndarray]:
    """Batches of 1 and 3 random images of the size, and one of 2 of another size."""
    generator = np.random.default_rng(0)
    other = max(_SMALLEST_SIDE, image_size * 3 // 4)
    for count, height, width in ((1, image_size, image_size), (3, image_size, image_size), (2, other, other + 1)):
        yield generator.random((count, height, width, 3), dtype=np.float32)


def largest_differences(answered: Iterable[tuple[np.ndarray, Answers]], run: Run) -> dict[str, float]:
    """Output -> largest difference between two networks, as a share of its largest value where that is above 1.

    Args:
        answered: batches of images, float32 [b, h, w, 3], with what one network answers, by output.
        run: what computes the same outputs by name.
    """
    largest: dict[str, float] = {}
    for batch, answers in answered:
        found = run(batch)
        for name, ours in answers.items():
            difference = np.abs(np.asarray(found[name]) - ours).max() / max(1.0, np.abs(ours).max())
            # NaN is larger than any number here.
            value = float(difference) if np.isfinite(difference) else float("inf")
            largest[name] = max(largest.get(name, 0.0), value)
    return largest


def difference_note(differences: Mapping[str, float], by: str) -> str:
    """The differences in a line."""
    listed = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    return f"largest difference by {by}: {listed}, as a share of the largest value where that is above 1"


def require_same(differences: Mapping[str, float], to: str, by: str, most: float = MOST_OF_FLOAT32) -> None:
    """Raises InputError where a format computes something else."""
    if not all(value <= most for value in differences.values()):  # NaN is not
        raise InputError(
            f"`to` must be a format that computes what the networks do, to {most:g}. Received: to={to}; "
            f"{difference_note(differences, by)}. Install other versions of the packages "
            "that convert, or pass another --to"
        )
