"""What the contrastive losses are as Keras loss objects."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError, require_range
from tf_simclr.losses.anchors import ContrastiveOutput

register = tf.keras.utils.register_keras_serializable(package="tf_simclr")


class ContrastiveLoss(tf.keras.losses.Loss):
    """A loss of two batches of projections. Subclass it, with `statistics`, for a loss of your own.

    `SimCLR` takes any instance. Keras's `reduction` and `sample_weight` have no meaning here: every projection is
    compared with all others, and the loss is one scalar.

    Args:
        name: of the loss.

    Example:
        import tensorflow as tf
        import tf_simclr


        @tf.keras.utils.register_keras_serializable()
        class TwiceNTXent(tf_simclr.losses.ContrastiveLoss):
            def statistics(self, z_a, z_b):
                found = tf_simclr.losses.contrastive_statistics(z_a, z_b)
                return found._replace(loss=2.0 * found.loss)


        z_a, z_b = tf.random.normal([8, 16]), tf.random.normal([8, 16])
        assert float(TwiceNTXent()(z_a, z_b)) == 2.0 * float(tf_simclr.losses.NTXent()(z_a, z_b))
    """

    def __init__(self, name: str | None = None):
        super().__init__(name=name)

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors.

        Args:
            z_a: float [n, d], projections of the first views, any float dtype.
            z_b: float [n, d], projections of the second views of the same images in the same order.

        Returns:
            (loss, accuracy, entropy), float32 scalars.
        """
        raise NotImplementedError(f"{type(self).__name__} must define statistics(z_a, z_b) -> ContrastiveOutput")

    def labelled_statistics(self, z_a: tf.Tensor, z_b: tf.Tensor, labels: tf.Tensor | None) -> ContrastiveOutput:
        """What `SimCLR` calls, with the labels of the batch. A loss that learns from labels overrides it.

        Args:
            z_a: as in `statistics`.
            z_b: as in `statistics`.
            labels: int [n], -1 for an image without one; None where the data have no labels. Here they are not used.

        Returns:
            as `statistics`.
        """
        del labels
        return self.statistics(z_a, z_b)

    def __call__(self, z_a: tf.Tensor, z_b: tf.Tensor, sample_weight: Any = None) -> tf.Tensor:
        """The loss, a float32 scalar; arguments as `statistics`.

        Raises:
            InputError: a sample weight, or two batches that are not pairs.
        """
        self._refuse_weights(sample_weight)
        return self.call(z_a, z_b)

    def _refuse_weights(self, sample_weight: Any) -> None:
        if sample_weight is not None:
            raise InputError(
                f"`sample_weight` must be None: {type(self).__name__} compares all projections with each other. "
                f"Received: {type(sample_weight).__name__}. Leave it out"
            )

    def call(self, z_a: tf.Tensor, z_b: tf.Tensor) -> tf.Tensor:
        """The loss, as `__call__`."""
        return self.statistics(z_a, z_b).loss

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ContrastiveLoss:
        """The loss of a config made by `get_config`."""
        return cls(**config)


class TemperedLoss(ContrastiveLoss):
    """A loss with a temperature, of projections that may be normalised."""

    def __init__(self, temperature: float, hidden_norm: bool, name: str):
        super().__init__(name=name)
        require_range("temperature", temperature, above=0)
        self.temperature = temperature
        self.hidden_norm = hidden_norm

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature, "hidden_norm": self.hidden_norm}
