"""Model building under the module name of the authors' code; see `tf_simclr.nn` for the code itself."""

from __future__ import annotations

from tf_simclr.nn.heads import build_projection_head as ProjectionHead
from tf_simclr.nn.heads import build_supervised_head as SupervisedHead
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.nn.model import SimCLRModel as Model
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import build_encoder
from tf_simclr.nn.resnet import build_encoder as resnet

__all__ = [
    "BatchNorm",
    "Model",
    "ProjectionHead",
    "SimCLRModel",
    "SupervisedHead",
    "build_encoder",
    "build_model",
    "resnet",
]
