"""TensorBoard curves of a run."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.train.observers import Observer


class SummaryWriter(Observer):
    """Writes windows of metrics as TensorBoard scalars; an Observer of the loop.

    The directory and its event file are made with the first window: a run that is refused before leaves nothing.

    Args:
        directory: of the event files.
    """

    def __init__(self, directory: str):
        self._directory = directory
        self._writer: tf.summary.SummaryWriter | None = None

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one point a metric, under its tag."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._directory)
        with self._writer.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
