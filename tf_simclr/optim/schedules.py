"""Learning-rate schedules.

Keras's CosineDecay with a `warmup_target` differs from ours in the last bit of some steps of the warm-up. A run that is
resumed must go on with the same bits, and a saved model must find the arguments that it was saved with.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class WarmupCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then cosine decay to 0 without restarts (SimCLR, Section 2.3).

    Args:
        peak: learning rate at the end of the warm-up.
        warmup_steps: steps of linear warm-up; 0 starts at the peak.
        total_steps: step at which the rate reaches 0; above warmup_steps.

    Raises:
        ValueError: warmup_steps is not in [0, total_steps).

    Example:
        import tf_simclr

        rate = tf_simclr.schedules.WarmupCosine(peak=0.3, warmup_steps=10, total_steps=100)
        assert abs(float(rate(10)) - 0.3) < 1e-6 and float(rate(100)) == 0.0
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        super().__init__()
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"`warmup_steps` must be in [0, total_steps). Received: warmup_steps={warmup_steps}, "
                f"total_steps={total_steps}"
            )
        self.peak, self.warmup_steps, self.total_steps = float(peak), int(warmup_steps), int(total_steps)

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate of a step (int or float, scalar), float32."""
        step = tf.cast(step, tf.float32)
        warmup = self.peak * step / max(self.warmup_steps, 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        cosine = 0.5 * self.peak * (1.0 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        return tf.where(step < self.warmup_steps, warmup, cosine)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}
