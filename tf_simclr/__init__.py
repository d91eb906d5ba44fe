"""SimCLR, contrastive learning of visual representations, in TensorFlow 2 and Keras."""

__version__ = "0.1.0"
