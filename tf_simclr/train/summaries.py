"""TensorBoard curves of a run."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.train.loop import Progress


class SummaryWriter:
    """Writes windows of metrics as TensorBoard scalars; an Observer of the loop.

    Args:
        directory: of the event files.
    """

    def __init__(self, directory: str):
        self._writer = tf.summary.create_file_writer(directory)

    def on_progress(self, progress: Progress) -> None:
        """Curves are made of windows; single calls are not recorded."""

    def on_window(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one point a metric, under its tag."""
        with self._writer.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
