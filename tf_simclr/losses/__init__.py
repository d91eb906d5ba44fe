"""The contrastive losses: objects to train with, and by module the functions they are made of."""

from typing import TYPE_CHECKING

from tf_simclr.lazy import attach

if TYPE_CHECKING:
    from tf_simclr.losses.loss_object import ContrastiveLoss
    from tf_simclr.losses.objects import MarginTriplet, NTLogistic, NTXent, contrastive_statistics
    from tf_simclr.losses.variants import DCL, DebiasedNTXent, SupCon

__all__ = [
    "DCL",
    "ContrastiveLoss",
    "DebiasedNTXent",
    "MarginTriplet",
    "NTLogistic",
    "NTXent",
    "SupCon",
    "contrastive_statistics",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "ContrastiveLoss": "tf_simclr.losses.loss_object",
        **dict.fromkeys(
            ["MarginTriplet", "NTLogistic", "NTXent", "contrastive_statistics"], "tf_simclr.losses.objects"
        ),
        **dict.fromkeys(["DCL", "DebiasedNTXent", "SupCon"], "tf_simclr.losses.variants"),
    },
)
