"""What every export is made of, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config import ModelConfig
from tf_simclr.interop.card import ModelCard
from tf_simclr.nn.model import SimCLRModel


@dataclass(frozen=True)
class Source:
    """Trained networks on their way to another program.

    Attributes:
        model: the networks, float32.
        card: what simclr.json says of them.
        network: the flags of the networks.
        tflite_type: "float32", "float16" or "int8".
        calibration_dir: folder of images for int8; None without one.
        license: of the weights, an SPDX identifier or "unknown".
    """

    model: SimCLRModel
    card: ModelCard
    network: ModelConfig
    tflite_type: str = "float32"
    calibration_dir: str | None = None
    license: str = "unknown"

    @property
    def has_torch_names(self) -> bool:
        """Whether torchvision's ResNet has a place for every layer of the encoder."""
        return not (self.network.sk_ratio or self.network.se_ratio)
