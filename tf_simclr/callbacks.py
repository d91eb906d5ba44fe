"""Callbacks of the public API."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.evaluate.functions import ENDPOINT, feature_function, features_of, knn, linear_probe
from tf_simclr.evaluate.online import LINEAR_BATCH, LINEAR_EPOCHS, TEMPERATURE, K

__all__ = ["Probe"]


class Probe(tf.keras.callbacks.Callback):
    """Measures the encoder while it is trained: kNN and a linear classifier on features.

    At the end of every `every`-th epoch it adds val_knn_top_1 and val_linear_top_1 to Keras's logs, in [0, 1]: they are
    in the history, in TensorBoard, and may be monitored by other callbacks that come after it. The classifier learns
    from the features of `train`, for 20 epochs, as `run.py --eval_every_epochs` does. No weight changes.

    Args:
        train: labelled images that kNN searches and the classifier learns from: a finite tf.data.Dataset of batches
            (images, labels), as `image_dataset` without augmentation makes it, or two arrays.
        test: labelled images, alike.
        every: epochs between two measurements, >= 1. Default 1.
        k: neighbours that vote; all of `train` where there are fewer. Default 200.
        endpoint: what is measured. Default "final_avg_pool", which is h.
        seed: of the order in which the classifier sees the features.

    Raises:
        InputError: a number out of its range; when it is first called, images without labels.

    Example:
        import numpy as np
        import tf_simclr

        rng = np.random.default_rng(0)
        images, labels = rng.random((16, 16, 16, 3), dtype=np.float32), np.arange(16) % 2
        model = tf_simclr.SimCLR(
            tf_simclr.resnet(18, width=0.0625, stem="cifar"),
            augmentation=tf_simclr.layers.SimCLRAugmentation(16, blur=False),
        )
        model.compile("sgd")
        probe = tf_simclr.callbacks.Probe((images, labels), (images, labels))
        history = model.fit(images, batch_size=8, callbacks=[probe], verbose=0)
        assert "val_knn_top_1" in history.history
    """

    def __init__(
        self, train: Any, test: Any, every: int = 1, k: int = K, endpoint: str = ENDPOINT, seed: int = 0
    ) -> None:
        super().__init__()
        require_range("every", every, at_least=1)
        require_range("k", k, at_least=1)
        self.train, self.test = train, test
        self.every, self.k, self.endpoint, self.seed = every, k, endpoint, seed
        self._features: Any = None

    def set_model(self, model: Any) -> None:
        """Keras's hook: the pass over the images is traced once for a model."""
        super().set_model(model)
        self._features = feature_function(model, self.endpoint)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras's hook: measures, and adds to the logs."""
        if logs is not None and (epoch + 1) % self.every == 0:
            logs.update(self.figures())

    def figures(self) -> dict[str, float]:
        """val_knn_top_1 and val_linear_top_1 of the model as it is now, in [0, 1].

        Raises:
            InputError: images without labels, or features that are not finite.
        """
        train, train_labels = features_of(self._features, self.train)
        test, test_labels = features_of(self._features, self.test)
        if train_labels is None or test_labels is None:
            raise InputError(
                "`train` and `test` must hold (images, labels). Received: images without labels. Add them, or leave "
                "the callback out"
            )
        arrays = train, train_labels, test, test_labels
        batch = min(LINEAR_BATCH, len(train_labels))
        return {
            "val_knn_top_1": knn(*arrays, k=self.k, temperature=TEMPERATURE),
            "val_linear_top_1": linear_probe(*arrays, epochs=LINEAR_EPOCHS, batch_size=batch, seed=self.seed),
        }
