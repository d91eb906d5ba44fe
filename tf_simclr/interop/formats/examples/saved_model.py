"""h of images by TensorFlow: python example.py [images.npy], numbers in [0, 1], [n, height, width, 3]."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

if sys.argv[1:] and not sys.argv[1].endswith(".npy"):
    sys.exit(f"images must be an array that numpy.save has written, as images.npy. Received: {sys.argv[1]}")
images = np.load(sys.argv[1]) if sys.argv[1:] else np.random.rand(2, 224, 224, 3)
if not 0 <= images.min() <= images.max() <= 1:
    sys.exit(f"images must be in [0, 1]. Received: {images.min():g} to {images.max():g}. Divide by 255")
model = tf.saved_model.load(Path(__file__).parent)
h = model(images.astype(np.float32))["final_avg_pool"].numpy()
print(h.shape, h[0, :5], "..." if sys.argv[1:] else "of random images: pass images.npy")
