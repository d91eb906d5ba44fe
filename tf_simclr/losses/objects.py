"""The losses of the SimCLR paper as Keras loss objects, and the object that a run's flags describe."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.config import LossConfig
from tf_simclr.errors import require_range
from tf_simclr.losses.anchors import ContrastiveOutput
from tf_simclr.losses.loss_object import ContrastiveLoss, TemperedLoss, register
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.negatives import require_margin
from tf_simclr.losses.nt_logistic import nt_logistic
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.variants import DCL, DebiasedNTXent, SupCon


@register
class NTXent(TemperedLoss):
    """NT-Xent, the normalised temperature-scaled cross entropy.

    Called with two batches of projections it returns the mean loss of this replica's 2n anchors. Every anchor is
    compared with all other 2N - 1 projections of the global batch, those of other replicas included, with gradient. The
    mean over replicas is the paper's loss. A Keras optimizer sums the gradients of replicas: divide the loss by their
    number before you differentiate it. `SimCLR` does so.

    Args:
        temperature: tau > 0; the similarities are divided by it. Default 0.1.
        hidden_norm: whether the projections are l2-normalised, so that similarities are cosines. Default True.
        name: of the loss.

    Raises:
        InputError: temperature is not above 0.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.NTXent(temperature=0.5)
        z_a, z_b = tf.random.normal([8, 16]), tf.random.normal([8, 16])
        print(float(loss(z_a, z_b)))  # about ln 15 = 2.7: the projections carry no information

    Reference: SimCLR, Equation 1.
    """

    def __init__(self, temperature: float = 0.1, hidden_norm: bool = True, name: str = "nt_xent"):
        super().__init__(temperature, hidden_norm, name)

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return nt_xent(z_a, z_b, temperature=self.temperature, hidden_norm=self.hidden_norm)


class _OneNegativeAtATime(ContrastiveLoss):
    """What the two losses that compare an anchor with one negative at a time share."""

    def __init__(self, temperature: float, hidden_norm: bool, semi_hard: bool, margin: float, name: str):
        super().__init__(name=name)
        require_range("temperature", temperature, above=0)
        require_margin(margin, semi_hard)
        self.temperature = temperature
        self.hidden_norm = hidden_norm
        self.semi_hard = semi_hard
        self.margin = margin

    def _settings(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "hidden_norm": self.hidden_norm,
            "semi_hard": self.semi_hard,
            "margin": self.margin,
        }

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self._settings()}


@register
class NTLogistic(_OneNegativeAtATime):
    """NT-Logistic, the normalised temperature-scaled logistic loss.

    It is called, and behaves on several replicas, as `NTXent`. The negatives of an anchor are the views of the other
    images from the augmentation that is not the anchor's.

    Args:
        temperature: tau > 0. Default 0.1.
        hidden_norm: whether the projections are l2-normalised. Default True.
        semi_hard: learn only from the most similar negative that is less similar than the positive, by less than
            `margin`. Default False.
        margin: of the semi-hard negatives, > 0; not used without `semi_hard`. Default 0.4.
        name: of the loss.

    Raises:
        InputError: a number that cannot work.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.NTLogistic(temperature=0.2, semi_hard=True)
        z_a, z_b = tf.random.normal([8, 16]), tf.random.normal([8, 16])
        print(float(loss(z_a, z_b)))

    Reference: SimCLR, Table 2 and Appendix B.10.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        hidden_norm: bool = True,
        semi_hard: bool = False,
        margin: float = 0.4,
        name: str = "nt_logistic",
    ):
        super().__init__(temperature, hidden_norm, semi_hard, margin, name)

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return nt_logistic(z_a, z_b, **self._settings())


@register
class MarginTriplet(_OneNegativeAtATime):
    """The margin triplet loss: max(u.v- - u.v+ + margin, 0), the mean over an anchor's negatives.

    It is called, and behaves on several replicas, as `NTXent`; its negatives are those of `NTLogistic`.

    Args:
        margin: m >= 0, in units of similarity; > 0 with `semi_hard`. Default 0.4.
        hidden_norm: whether the projections are l2-normalised. Default True.
        semi_hard: learn only from the most similar negative that is less similar than the positive, by less than
            `margin`. Default False.
        temperature: tau > 0 of the softmax whose entropy is measured; the loss has none. Default 0.1.
        name: of the loss.

    Raises:
        InputError: a number that cannot work.

    Example:
        import tensorflow as tf
        import tf_simclr

        loss = tf_simclr.losses.MarginTriplet(margin=0.4)
        z = tf.random.normal([8, 16])
        print(float(loss(z, z)))

    Reference: SimCLR, Table 2 and Appendix B.10; Schroff et al. 2015.
    """

    def __init__(
        self,
        margin: float = 0.4,
        hidden_norm: bool = True,
        semi_hard: bool = False,
        temperature: float = 0.1,
        name: str = "margin_triplet",
    ):
        super().__init__(temperature, hidden_norm, semi_hard, margin, name)

    def statistics(self, z_a: tf.Tensor, z_b: tf.Tensor) -> ContrastiveOutput:
        """Loss, accuracy and entropy of this replica's anchors."""
        return margin_triplet(z_a, z_b, **self._settings())


def loss_of(settings: LossConfig) -> ContrastiveLoss:
    """The loss object that the flags of a run describe."""
    name = settings.loss
    if name == "debiased":
        return DebiasedNTXent(settings.temperature, settings.class_prior)
    ranking: dict[str, Any] = {"nt_xent": NTXent, "dcl": DCL, "supcon": SupCon}
    if name in ranking:
        return ranking[name](settings.temperature, settings.hidden_norm)
    kind: Any = {"nt_logistic": NTLogistic, "margin_triplet": MarginTriplet}[name]
    return kind(
        temperature=settings.temperature,
        hidden_norm=settings.hidden_norm,
        semi_hard=settings.semi_hard,
        margin=settings.margin,
    )


def contrastive_statistics(
    z_a: tf.Tensor, z_b: tf.Tensor, loss: ContrastiveLoss | None = None, labels: tf.Tensor | None = None
) -> ContrastiveOutput:
    """How well projections find their positives: what a training curve shows beside the loss.

    Args:
        z_a: float [n, d], projections of the first views of this replica.
        z_b: float [n, d], projections of the second views of the same images in the same order.
        loss: which loss; None for `NTXent()`.
        labels: int [n], -1 for an image without one, for a loss that learns from them; None where there are none.

    Returns:
        a named tuple (loss, accuracy, entropy) of float32 scalars: the loss, the share of anchors in [0, 1] whose
        positive is the most similar of all candidates, and the mean entropy in nats of the softmax over the candidates.

    Example:
        import tensorflow as tf
        import tf_simclr

        z = tf.random.normal([8, 16])
        loss, accuracy, entropy = tf_simclr.losses.contrastive_statistics(z, z + 0.01)
        assert float(accuracy) == 1.0

    Reference: SimCLR, Equation 1.
    """
    return (loss or NTXent()).labelled_statistics(z_a, z_b, labels)
