"""The lines by which torchvision's ResNet becomes the network of an export, in its example.py."""

from __future__ import annotations

from collections.abc import Iterator

from tf_simclr.interop.formats.source import Source
from tf_simclr.nn.resnet import BASIC_DEPTHS, BLOCKS_PER_GROUP

_BUILD, _LOAD = "model = resnet.ResNet(", "model.load_state_dict("
_LOAD_ANY_WIDTH = """\
state = load_file(Path(__file__).with_name("model.safetensors"))
for name, tensor in model.state_dict(keep_vars=True).items():
    tensor.data = state.get(name, tensor.data)  # torchvision builds width 1
"""


def torch_example(text: str, source: Source) -> str:
    """examples/torch.py for the network of an export: with what torchvision's ResNet must be given, and nothing else.

    Args:
        text: of examples/torch.py.
        source: the networks.
    """
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_BUILD):
            lines += _building(source)
        elif line.startswith(_LOAD) and source.network.width_multiplier != 1:
            lines.append(_LOAD_ANY_WIDTH)
        else:
            lines.append(line)
    return "".join(lines)


def _building(source: Source) -> Iterator[str]:
    network = source.network
    mean, std = network.input_normalization
    if mean:
        yield f"images = (images - {list(mean)}) / {list(std)}\n"
    basic, head = network.resnet_depth in BASIC_DEPTHS, source.model.supervised_head
    block, blocks = "BasicBlock" if basic else "Bottleneck", list(BLOCKS_PER_GROUP[network.resnet_depth])
    classes = ""
    if head is not None and source.model.supervised_input == 0:
        classes = f", num_classes={head.output.shape[-1]}"
    yield f"{_BUILD}resnet.{block}, {blocks}{classes})\n"
    if network.stem_for(source.card.image_size) == "cifar":
        yield "model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)\n"
        yield "model.maxpool = torch.nn.Identity()\n"
    elif network.pool_padding == "same":  # of odd maps both sides, of even ones the end alone
        yield "odd = [(side + 1) // 2 % 2 for side in images.shape[1:3]]\n"
        yield "padding = torch.nn.ZeroPad2d((odd[1], 1, odd[0], 1))\n"
        yield "model.maxpool = torch.nn.Sequential(padding, torch.nn.MaxPool2d(3, 2))\n"
    if basic and not network.identity_shortcut:
        yield "shortcut = torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.BatchNorm2d(64)\n"
        yield "model.layer1[0].downsample = torch.nn.Sequential(*shortcut)\n"
