"""h of images by torchvision: python example.py [images.npy], numbers in [0, 1], [n, height, width, 3]."""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torchvision.models import resnet

if sys.argv[1:] and not sys.argv[1].endswith(".npy"):
    sys.exit(f"images must be an array that numpy.save has written, as images.npy. Received: {sys.argv[1]}")
images = np.load(sys.argv[1]) if sys.argv[1:] else np.random.rand(2, 224, 224, 3)
if not 0 <= images.min() <= images.max() <= 1:
    sys.exit(f"images must be in [0, 1]. Received: {images.min():g} to {images.max():g}. Divide by 255")
model = resnet.ResNet(resnet.Bottleneck, [3, 4, 6, 3])
model.load_state_dict(load_file(Path(__file__).with_name("model.safetensors")), strict=False)
encoder = torch.nn.Sequential(*list(model.eval().children())[:-1], torch.nn.Flatten())
h = encoder(torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32)).detach().numpy()
print(h.shape, h[0, :5], "..." if sys.argv[1:] else "of random images: pass images.npy")
