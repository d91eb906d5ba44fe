"""The contrastive loss of projections that carry no information, for each of the losses."""

from __future__ import annotations

from tf_simclr.config import LossConfig
from tf_simclr.losses import nt_logistic, nt_xent


def chance_of(loss: LossConfig, global_batch_size: int) -> float | None:
    """The loss at chance.

    Args:
        loss: which loss, with its settings.
        global_batch_size: N, images over all replicas.

    Returns:
        ln(2N - 1) for nt_xent and, for the other two, the least that projections without information can have: 2 ln 2
        for nt_logistic and the margin for margin_triplet. None with semi-hard negatives, where it depends on the
        projections. In the unit of the loss: nats, or similarity for margin_triplet.
    """
    if loss.semi_hard:
        return None
    levels = {
        "nt_xent": nt_xent.chance_level(global_batch_size),
        "nt_logistic": nt_logistic.CHANCE_LEVEL,
        "margin_triplet": loss.margin,
    }
    return levels[loss.loss]
