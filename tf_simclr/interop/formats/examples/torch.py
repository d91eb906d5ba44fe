"""h of images by torchvision: python example.py [images.npy], numbers in [0, 1], [n, height, width, 3]."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torchvision.models import resnet

here = Path(__file__).parent
card = json.loads((here / "simclr.json").read_text())
side = card["image_size"]
images = np.load(sys.argv[1]) if sys.argv[1:] else np.random.default_rng(0).random((2, side, side, 3))
if not (images.min() >= 0 and images.max() <= 1):
    sys.exit(f"images must be in [0, 1]. Received: {images.min():g} to {images.max():g}. Divide by 255")

state, config = load_file(here / "model.safetensors"), card["config"]
blocks = [len({name.split(".")[1] for name in state if name.startswith(f"layer{group}.")}) for group in (1, 2, 3, 4)]
model = resnet.ResNet(resnet.Bottleneck if "layer1.0.conv3.weight" in state else resnet.BasicBlock, blocks)
x = torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32)
if config["input_mean"]:
    mean, std = (torch.tensor([float(v) for v in config[k].split(",")]) for k in ("input_mean", "input_std"))
    x = (x - mean[:, None, None]) / std[:, None, None]
if config["stem"] == "cifar":
    model.conv1, model.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()
elif config["pool_padding"] == "same":  # TensorFlow pads both sides of odd maps, and the end alone of even ones
    even = [1 - (side + 1) // 2 % 2 for side in x.shape[2:]]
    pads = torch.nn.ZeroPad2d((1 - even[1], 1, 1 - even[0], 1))
    model.maxpool = torch.nn.Sequential(pads, torch.nn.MaxPool2d(3, 2))
if "layer1.0.downsample.0.weight" in state and model.layer1[0].downsample is None:
    model.layer1[0].downsample = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.BatchNorm2d(64))
tensors = model.state_dict(keep_vars=True)
for name, value in state.items():
    tensors[name].data = value  # networks of width 1: model.load_state_dict(state, strict=False) does the same
model.fc = torch.nn.Identity()  # leave this out for the logits of a classifier
with torch.no_grad():
    h = model.eval()(x)
print(f"h {list(h.shape)}, mean {h.mean():.6f}")
if sys.argv[2:]:
    np.save(sys.argv[2], h)
