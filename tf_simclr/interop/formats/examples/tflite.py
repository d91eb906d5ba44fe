"""h of images by LiteRT: python example.py [images.npy], numbers in [0, 1], [n, height, width, 3]."""

import json
import sys
from pathlib import Path

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # an older TensorFlow has it as well
    import tensorflow as tf

    Interpreter = tf.lite.Interpreter

here = Path(__file__).parent
side = json.loads((here / "simclr.json").read_text())["image_size"]
images = np.load(sys.argv[1]) if sys.argv[1:] else np.random.default_rng(0).random((2, side, side, 3))
if not (images.min() >= 0 and images.max() <= 1):
    sys.exit(f"images must be in [0, 1]. Received: {images.min():g} to {images.max():g}. Divide by 255")

model = Interpreter(model_path=str(here / "model.tflite")).get_signature_runner("serving_default")
h = model(inputs=images.astype(np.float32))["final_avg_pool"]
print(f"h {list(h.shape)}, mean {h.mean():.6f}")
if sys.argv[2:]:
    np.save(sys.argv[2], h)
