"""How good a representation is: functions of features, and by module all that `python -m tf_simclr evaluate` does."""

from typing import TYPE_CHECKING

from tf_simclr.lazy import attach

if TYPE_CHECKING:
    from tf_simclr.evaluate.functions import extract, health, knn, linear_probe, logistic_regression

__all__ = ["extract", "health", "knn", "linear_probe", "logistic_regression"]

__getattr__, __dir__ = attach(__name__, dict.fromkeys(__all__, "tf_simclr.evaluate.functions"))
