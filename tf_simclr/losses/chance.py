"""The contrastive loss of projections that carry no information, for each of the losses."""

from __future__ import annotations

from tf_simclr.config import LossConfig
from tf_simclr.losses import dcl, nt_logistic, nt_xent


def chance_of(loss: LossConfig, global_batch_size: int) -> float | None:
    """The loss at chance.

    Args:
        loss: which loss, with its settings.
        global_batch_size: N, images over all replicas.

    Returns:
        the least that projections without information can have: ln(2N - 1) for nt_xent and supcon, with a full memory
        of m ln(2N - 1 + m), ln(2N - 2) for dcl, 2 ln 2 for nt_logistic and the margin for margin_triplet. None where it
        depends on the projections: with semi-hard negatives, and for debiased, whose estimate of the negatives is lower
        for a positive that is similar by accident. In the unit of the loss: nats, or similarity for margin_triplet.
    """
    if loss.semi_hard or loss.loss == "debiased":
        return None
    levels = {
        "nt_xent": nt_xent.chance_level(global_batch_size, loss.memory_size),
        # Its mean over positives, where they are as similar as all others, is that of all candidates.
        "supcon": nt_xent.chance_level(global_batch_size),
        "dcl": dcl.chance_level(global_batch_size),
        "nt_logistic": nt_logistic.CHANCE_LEVEL,
        "margin_triplet": loss.margin,
    }
    return levels[loss.loss]
