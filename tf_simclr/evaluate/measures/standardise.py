"""Features moved and scaled to mean 0 and variance 1, for classifiers whose training depends on their scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tf_simclr.evaluate.measures.arrays import as_features, finite_rows, row_blocks

_BLOCK_ROWS = 4096
# A feature whose deviation is below this share of its mean is constant: float32 has no digits for more.
_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Standardiser:
    """A shift and a scale of every feature; a classifier on what it returns can tell no more and no less than before.

    h is an average after a ReLU, far from mean 0, and its scale differs by orders of magnitude from network to network:
    it is smallest for one that was never trained. Neither a learning rate nor an l2 strength would mean the same for
    two of them.

    Attributes:
        mean: float64 [d], of the training features.
        scale: float64 [d], their standard deviation; 1 for a feature that never varies, which thus becomes 0.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: npt.ArrayLike, name: str = "features") -> Standardiser:
        """The standardiser of training features.

        Args:
            features: real numbers [n, d], may be memory-mapped: a block of rows is read at a time, twice.
            name: of the features, for messages.

        Raises:
            InputError: not a matrix of numbers, or a value that is not finite, by row.
        """
        f = as_features(name, features)
        blocks = list(row_blocks(len(f), _BLOCK_ROWS))
        mean: np.ndarray = np.zeros(f.shape[1])
        for rows in blocks:
            mean += finite_rows(name, f, rows).sum(axis=0) / len(f)
        # Two passes: in one, the difference of two nearly equal sums would hide a small deviation.
        squares = sum(((f[rows].astype(np.float64) - mean) ** 2).sum(axis=0) for rows in blocks)
        std = np.sqrt(squares / len(f))
        return cls(mean, np.where(std > _CONSTANT * np.abs(mean), std, 1.0))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The features [n, d] standardised, in their own precision if that is float32 or float64, else in float32."""
        dtype = np.float64 if features.dtype == np.float64 else np.float32
        return (np.asarray(features, dtype) - self.mean.astype(dtype)) / self.scale.astype(dtype)

    def folded(self, weights: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights [classes, d] and biases [classes] for features as they are, from those for standardised ones."""
        plain = weights / self.scale
        return plain, biases - plain @ self.mean
