"""TensorBoard curves of a run."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.train.observers import Observer


class SummaryWriter(Observer):
    """Writes windows of metrics as TensorBoard scalars; an Observer of the loop.

    The directory and its event file are made with the first of them: a run that is refused before leaves nothing.

    Args:
        directory: of the event files.
    """

    def __init__(self, directory: str):
        self._directory = directory
        self._writer: tf.summary.SummaryWriter | None = None

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one point a metric, under its tag."""
        writer = self._opened()
        with writer.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        writer.flush()

    def image(self, tag: str, pixels: np.ndarray, step: int = 0) -> None:
        """Writes an image, uint8 [h, w, 3], under a tag."""
        writer = self._opened()
        with writer.as_default(step=step):
            tf.summary.image(tag, pixels[np.newaxis])
        writer.flush()

    def _opened(self) -> tf.summary.SummaryWriter:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._directory)
        return self._writer
