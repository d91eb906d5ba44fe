"""Small indexes of made-up features, written as embed writes them."""

from __future__ import annotations

import numpy as np

from tf_simclr.index.rows import Row, fingerprint_of
from tf_simclr.index.store import Identity
from tf_simclr.index.writing import write_index


def identity(**changes):
    values = {
        "network": "0" * 64,
        "endpoint": "final_avg_pool",
        "image_size": 16,
        "reading": {"decoder": "auto", "eval_crop": 1.0},
        "dtype": "float32",
        "dataset": "folder",
        "data_dir": "/images",
    }
    return Identity(**values | changes)


def rows_of(labels):
    """A row for each label, its path numbered."""
    paths = [f"{number:04d}.png" for number in range(len(labels))]
    return [Row(path, label, "", 10, fingerprint_of(path, 10, 0)) for path, label in zip(paths, labels, strict=True)]


def an_index(directory, features, labels=None, **changes):
    """An index of features [n, d]; unlabelled without labels."""
    features = np.asarray(features)
    labels = [""] * len(features) if labels is None else labels
    named = identity(**{"dtype": str(features.dtype)} | changes)
    blocks = [(np.arange(len(features)), features)]
    facts = {"checkpoint": "/run/ckpt-1", "written_by": {}}
    return write_index(str(directory), named, rows_of(labels), features.shape[1], blocks, **facts)


def random_features(n, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=[n, d]).astype(np.float32)
