"""The authors' TensorFlow 2 code: paths of attributes, below the attribute `model` of a checkpoint or SavedModel."""

from __future__ import annotations

from tf_simclr.nn.resnet import BLOCKS_PER_GROUP, NUM_GROUPS

MODEL = "model"
# Saved beside the networks.
LEFT_OUT = ("global_step", "save_counter", "optimizer/", "_CHECKPOINTABLE_OBJECT_GRAPH")
SLOT = "/.OPTIMIZER_SLOT/"

_MOST_HEAD_LAYERS = 16
_STEM, _GROUPS = "resnet_model/initial_conv_relu_max_pool", "resnet_model/block_groups"
STEM = {"0/conv2d": "stem_conv", "2/bn": "stem_norm"}
# With selective kernels. Only this stem has a convolution at 4.
RESNET_D = f"{_STEM}/4/conv2d/kernel"
STEM_OF_RESNET_D = {
    **{"0/conv2d": "stem_conv1", "1/bn": "stem_norm1"},
    **{"2/conv2d": "stem_conv2", "3/bn": "stem_norm2"},
    **{"4/conv2d": "stem_conv", "6/bn": "stem_norm"},
}

# What pads and pools before the convolution of a shortcut moves its place in the list.
_SHORTCUT = {
    f"{layers}/{place}/{leaf}": role
    for layers in ("shortcut_layers", "projection_layers")
    for place in range(4)
    for leaf, role in (("conv2d", "shortcut_conv"), ("bn", "shortcut_norm"))
}
_BASIC = {
    **{"conv2d_bn_layers/0/conv2d": "conv1", "conv2d_bn_layers/1/bn": "norm1"},
    **{"conv2d_bn_layers/2/conv2d": "conv2", "conv2d_bn_layers/3/bn": "norm2"},
    **{"se_layer/se_reduce": "se_reduce", "se_layer/se_expand": "se_expand"},
}
# Places 2, 5 and 8 are DropBlock; with selective kernels 4 and 7.
_BOTTLENECK = {
    f"conv_relu_dropblock_layers/{place}": role
    for place, role in {
        **{"0/conv2d": "conv1", "1/bn": "norm1"},
        **{"3/conv2d": "conv2", "4/bn": "norm2"},
        **{"6/conv2d": "conv3", "7/bn": "norm3"},
        **{"9/se_reduce": "se_reduce", "9/se_expand": "se_expand"},
        # With selective kernels.
        **{"3/conv2d_fixed_padding/conv2d": "conv2", "3/batch_norm_relu/bn": "norm2"},
        **{"3/conv2d_0": "sk_conv1", "3/batch_norm_relu_1/bn": "sk_norm1", "3/conv2d_1": "sk_conv2"},
        **{"5/conv2d": "conv3", "6/bn": "norm3"},
        **{"8/se_reduce": "se_reduce", "8/se_expand": "se_expand"},
    }.items()
}
BLOCK = {**_SHORTCUT, **_BASIC, **_BOTTLENECK}

_HEAD = "_projection_head/linear_layers"
HEADS = {
    **{f"{_HEAD}/{j}/dense": f"projection_head/layer{j + 1}_dense" for j in range(_MOST_HEAD_LAYERS)},
    **{f"{_HEAD}/{j}/bn_relu/bn": f"projection_head/layer{j + 1}_norm" for j in range(_MOST_HEAD_LAYERS)},
    "supervised_head/linear_layer/dense": "supervised_head/dense",
}


def layers(resnet_d: bool) -> dict[str, str]:
    """Their path of every layer that may be there -> ours. `resnet_d` says which stem it is."""
    stem = STEM_OF_RESNET_D if resnet_d else STEM
    most = max(max(counts) for counts in BLOCKS_PER_GROUP.values())
    blocks = {
        f"{_GROUPS}/{group}/layers/{block}/{theirs}": f"encoder/block_group{group + 1}_block{block}_{ours}"
        for group in range(NUM_GROUPS)
        for block in range(most)
        for theirs, ours in BLOCK.items()
    }
    return {**{f"{_STEM}/{theirs}": f"encoder/{ours}" for theirs, ours in stem.items()}, **blocks, **HEADS}
