"""Learning-rate schedules of the public API."""

from tf_simclr.optim.schedules import WarmupCosine

__all__ = ["WarmupCosine"]
