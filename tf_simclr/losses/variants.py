"""What others made of NT-Xent, as Keras loss objects."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput
from tf_simclr.losses.dcl import dcl
from tf_simclr.losses.debiased import debiased_nt_xent, require_class_prior
from tf_simclr.losses.loss_object import ContrastiveLoss, TemperedLoss, register
from tf_simclr.losses.supcon import supcon


@register
class DCL(TemperedLoss):
    """The decoupled contrastive loss: NT-Xent without the positive in its denominator.

    It is called, and behaves on several replicas, as `NTXent`. It needs two images or more, and may fall below 0.

    Args:
        temperature: tau > 0. Default 0.1.
        hidden_norm: whether the projections are l2-normalised, so that similarities are cosines. Default True.
        name: of the loss.

    Raises:
        InputError: temperature is not above 0.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.DCL(temperature=0.2)
        z = tf.random.normal([8, 16])
        print(float(loss(z, z)) < float(tf_simclr.losses.NTXent(temperature=0.2)(z, z)))  # True

    Reference: Yeh et al. 2022, "Decoupled Contrastive Learning", Section 3.
    """

    def __init__(self, temperature: float = 0.1, hidden_norm: bool = True, name: str = "dcl"):
        super().__init__(temperature, hidden_norm, name)

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return dcl(z_a, z_b, temperature=self.temperature, hidden_norm=self.hidden_norm)


@register
class DebiasedNTXent(ContrastiveLoss):
    """Debiased NT-Xent: it corrects for the negatives that show the anchor's own class, without labels.

    It is called, and behaves on several replicas, as `NTXent`, and always l2-normalises the projections. It needs two
    images or more.

    Args:
        temperature: tau > 0. Default 0.1.
        class_prior: tau_plus in [0, 0.99], the share of images of an anchor's class: 1 / classes where all are as
            frequent. Default 0.1. With 0 the loss is `NTXent`.
        name: of the loss.

    Raises:
        InputError: a number out of its range.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.DebiasedNTXent(temperature=0.5, class_prior=0.1)
        z_a, z_b = tf.random.normal([8, 16]), tf.random.normal([8, 16])
        print(float(loss(z_a, z_b)))

    Reference: Chuang et al. 2020, "Debiased Contrastive Learning", Section 4.
    """

    def __init__(self, temperature: float = 0.1, class_prior: float = 0.1, name: str = "debiased"):
        super().__init__(name=name)
        require_range("temperature", temperature, above=0)
        require_class_prior(class_prior)
        self.temperature = temperature
        self.class_prior = class_prior

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return debiased_nt_xent(z_a, z_b, temperature=self.temperature, class_prior=self.class_prior)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature, "class_prior": self.class_prior}


@register
class SupCon(TemperedLoss):
    """The supervised contrastive loss: all views of images of one class are positives of each other.

    It behaves on several replicas as `NTXent`, and is called with the labels as well. In `SimCLR`, `fit` needs labels.
    They then reach the encoder, so the representation is no longer learned without supervision.

    Args:
        temperature: tau > 0. Default 0.1.
        hidden_norm: whether the projections are l2-normalised, so that similarities are cosines. Default True.
        name: of the loss.

    Raises:
        InputError: temperature is not above 0.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.SupCon(temperature=0.1)
        z_a, z_b = tf.random.normal([8, 16]), tf.random.normal([8, 16])
        labels = tf.constant([0, 0, 1, 1, 2, 2, -1, -1])  # -1: no label
        print(float(loss(z_a, z_b, labels=labels)))

    Reference: Khosla et al. 2020, "Supervised Contrastive Learning", Equation 2.
    """

    def __init__(self, temperature: float = 0.1, hidden_norm: bool = True, name: str = "supcon"):
        super().__init__(temperature, hidden_norm, name)

    def __call__(
        self, z_a: tf.Tensor, z_b: tf.Tensor, sample_weight: Any = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss, a float32 scalar.

        Args:
            z_a: float [n, d], projections of the first views, any float dtype.
            z_b: float [n, d], projections of the second views of the same images in the same order.
            sample_weight: None; weights have no meaning here.
            labels: int [n], the class of each image; -1 without a label.

        Raises:
            InputError: no labels, a sample weight, or two batches that are not pairs.
        """
        self._refuse_weights(sample_weight)
        return self.labelled_statistics(z_a, z_b, labels).loss

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Raises InputError: without labels there is no such loss. See `labelled_statistics`."""
        return self.labelled_statistics(z_a, z_b, None)

    def labelled_statistics(self, z_a: tf.Tensor, z_b: tf.Tensor, labels: tf.Tensor | None) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return supcon(z_a, z_b, labels, temperature=self.temperature, hidden_norm=self.hidden_norm)
