"""Whether a file became the network that it holds."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.weights.foreign_files import torchvision_h
from tf_simclr.evaluate.load import load_trained

# Looked for and not imported: a build for CUDA imports Triton, which crashes where TensorFlow was imported before.
needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)


def images(size):
    """Two images in [0, 1]."""
    return np.random.default_rng(0).random((2, size, size, 3), dtype=np.float32)


def assert_same_as_torchvision(place, values, spec, size):
    """Compares h and, where the values have a classifier, its logits; returns what was loaded."""
    trained = load_trained(place)
    found = trained.model.endpoints(images(size), training=False)
    h, logits = torchvision_h(values, spec, images(size))
    np.testing.assert_allclose(found["final_avg_pool"], h, atol=1e-5)
    if logits is not None:
        np.testing.assert_allclose(found["logits_sup"], logits, atol=1e-5)
    return trained
