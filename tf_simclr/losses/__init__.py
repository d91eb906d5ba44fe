"""The contrastive losses: objects to train with, and by module the functions they are made of."""

from typing import TYPE_CHECKING

from tf_simclr.lazy import attach

if TYPE_CHECKING:
    from tf_simclr.losses.objects import (
        ContrastiveLoss,
        MarginTriplet,
        NTLogistic,
        NTXent,
        contrastive_statistics,
    )

__all__ = ["ContrastiveLoss", "MarginTriplet", "NTLogistic", "NTXent", "contrastive_statistics"]

__getattr__, __dir__ = attach(__name__, dict.fromkeys(__all__, "tf_simclr.losses.objects"))
