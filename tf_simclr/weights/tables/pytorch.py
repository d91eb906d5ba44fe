"""PyTorch: the names of torchvision's ResNet, and of what surrounds it in torchvision, lightly and solo-learn."""

from __future__ import annotations

from tf_simclr.nn.resnet import BLOCKS_PER_GROUP, NUM_GROUPS

# Where a checkpoint of a trainer keeps the tensors of its model.
STATES = ("state_dict", "model_state_dict", "model", "net", "network", "backbone", "encoder")

LEAVES_OF_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LEAVES = {"weight": "kernel", "bias": "bias"}
# Counts batches since training began, which nothing here uses.
LEFT_OUT_ENDS = ("num_batches_tracked",)
# State of losses, queues and metrics.
LEFT_OUT_STARTS = ("criterion.", "loss.", "queue", "metrics.")

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
CLASSIFIERS = ("online_classifier", "online_classifier.classification_head", "online_classifier.linear", "classifier")
# solo-learn: dense layers with offsets and without batch norm.
PROJECTOR = "projector."
# Only solo-learn's files have these names; its CIFAR stem pads by 2.
OF_SOLO_LEARN = ("classifier.", PROJECTOR)


def encoder_layers() -> dict[str, str]:
    """torchvision's name of every layer that may be there, below the encoder's own -> ours."""
    most = max(max(counts) for counts in BLOCKS_PER_GROUP.values())
    blocks = {
        f"layer{group}.{block}.{theirs}": f"encoder/block_group{group}_block{block}_{ours}"
        for group in range(1, NUM_GROUPS + 1)
        for block in range(most)
        for theirs, ours in _BLOCK.items()
    }
    heads = {name: "supervised_head/dense" for name in CLASSIFIERS_OF_ENCODER}
    return {**{theirs: f"encoder/{ours}" for theirs, ours in _STEM.items()}, **blocks, **heads}
