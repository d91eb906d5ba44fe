"""The authors' TensorFlow 1 code: scopes and counters.

Convolutions and batch norms of the encoder are counted in the order in which they were made, each for itself, and the
first of each has no number. `Network.units` has the same order.
"""

from __future__ import annotations

ENCODER = "base_model/"
CONVOLUTION, NORM = "base_model/conv2d", "base_model/batch_normalization"
EMA = "ema_model/"
# Saved beside the networks: optimizers' slots and counters, and the memory of a momentum encoder.
LEFT_OUT = ("global_step", "beta1_power", "beta2_power", "LARSOptimizer/")
LEFT_OUT_ENDS = ("/Momentum", "/LARSOptimizer", "/Adam", "/Adam_1")
LEFT_OUT_WORDS = ("memory",)

_MOST_HEAD_LAYERS = 16
HEADS = {
    **{
        f"head_contrastive/{kind}_{j}/{theirs}": f"projection_head/layer{j + 1}_{ours}"
        for kind in ("nl", "l")
        for j in range(_MOST_HEAD_LAYERS)
        for theirs, ours in (("dense", "dense"), ("batch_normalization", "norm"))
    },
    "head_supervised/linear_layer/dense": "supervised_head/dense",
}


def counted(scope: str, number: int) -> str:
    """The name of the layer with a number, from 0, as "base_model/conv2d_7"."""
    return f"{scope}_{number}" if number else scope
