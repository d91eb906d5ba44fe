"""PyTorch: the names of torchvision's and Hugging Face's ResNet, and of what libraries and trainers put around it."""

from __future__ import annotations

import re

from tf_simclr.nn.resnet import BLOCKS_PER_GROUP, NUM_GROUPS

# Where a checkpoint of a trainer keeps the tensors of its model.
STATES = ("state_dict", "model_state_dict", "model", "net", "network", "backbone", "encoder")

LEAVES_OF_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LEAVES = {"weight": "kernel", "bias": "bias"}
# Counts batches since training began, which nothing here uses.
LEFT_OUT_ENDS = ("num_batches_tracked",)
# State of losses, queues and metrics.
LEFT_OUT_STARTS = ("criterion.", "loss.", "queue", "metrics.")

# A second encoder, whose weights are averages of the first one's: MoCo's encoder_k, BYOL's target_network, lightly's
# backbone_momentum, solo-learn's momentum_backbone, and what these libraries put behind it.
MOMENTUM = re.compile(r"(momentum_\w+|\w+_momentum|target_\w+|teacher(_\w+)?|\w+_ema|encoder_k)\.")

_STEM = {"conv1": "stem_conv", "bn1": "stem_norm"}
# lightly's own ResNet writes shortcut for downsample, and linear for fc.
_BLOCK = {
    **{f"conv{n}": f"conv{n}" for n in (1, 2, 3)},
    **{f"bn{n}": f"norm{n}" for n in (1, 2, 3)},
    **{f"{name}.0": "shortcut_conv" for name in ("downsample", "shortcut")},
    **{f"{name}.1": "shortcut_norm" for name in ("downsample", "shortcut")},
}
CLASSIFIERS_OF_ENCODER = ("fc", "linear")
# A Sequential counts the children of a ResNet: torchvision's, and lightly's own, whose ReLU and pool are no modules.
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
SEQUENTIAL_OF_LIGHTLY = {"0": "conv1", "1": "bn1", "2": "layer1", "3": "layer2", "4": "layer3", "5": "layer4"}

_MOST_HEAD_LAYERS = 16
# lightly: a dense layer, its batch norm and a ReLU in turn.
PROJECTION_HEAD = {
    **{f"projection_head.layers.{3 * j}": f"projection_head/layer{j + 1}_dense" for j in range(_MOST_HEAD_LAYERS)},
    **{f"projection_head.layers.{3 * j + 1}": f"projection_head/layer{j + 1}_norm" for j in range(_MOST_HEAD_LAYERS)},
}
CLASSIFIERS = (
    *("online_classifier", "online_classifier.classification_head", "online_classifier.linear"),
    *("classifier", "classifier.1"),  # solo-learn, Hugging Face
)
# Heads of other layers than ours: of solo-learn, Barlow Twins, BYOL, SupContrast and SwAV.
HEADS = ("projector.", "projection.", "projection_head.", "predictor.", "prediction_head.", "head.", "prototypes")
# MoCo v2 and others put layers in the place of fc.
HEADS_OF_ENCODER = tuple(f"fc.{place}." for place in range(_MOST_HEAD_LAYERS))
# Only solo-learn's files have these names; its CIFAR stem pads by 2.
OF_SOLO_LEARN = ("classifier.", "projector.")

# Hugging Face's ResNet, below what it calls the model.
HUGGING_FACE_STEM, HUGGING_FACE_FIRST = "embedder.embedder", "encoder.stages.0.layers.0.layer.0.convolution.weight"
_HUGGING_FACE_KINDS = {"convolution": "conv", "normalization": "norm"}
_HUGGING_FACE_BLOCK = {
    **{f"layer.{n - 1}.{theirs}": f"{ours}{n}" for n in (1, 2, 3) for theirs, ours in _HUGGING_FACE_KINDS.items()},
    **{f"shortcut.{theirs}": f"shortcut_{ours}" for theirs, ours in _HUGGING_FACE_KINDS.items()},
}


def encoder_layers() -> dict[str, str]:
    """torchvision's and Hugging Face's name of every layer that may be there, below the encoder's own -> ours."""
    most = max(max(counts) for counts in BLOCKS_PER_GROUP.values())
    blocks = {
        f"{start}.{block}.{theirs}": f"encoder/block_group{group}_block{block}_{ours}"
        for group in range(1, NUM_GROUPS + 1)
        for start, table in (
            (f"layer{group}", _BLOCK),
            (f"encoder.stages.{group - 1}.layers", _HUGGING_FACE_BLOCK),
        )
        for block in range(most)
        for theirs, ours in table.items()
    }
    heads = {name: "supervised_head/dense" for name in CLASSIFIERS_OF_ENCODER}
    of_hugging_face = {f"{HUGGING_FACE_STEM}.{name}": f"stem_{ours}" for name, ours in _HUGGING_FACE_KINDS.items()}
    stems = {theirs: f"encoder/{ours}" for theirs, ours in {**_STEM, **of_hugging_face}.items()}
    return {**stems, **blocks, **heads}
