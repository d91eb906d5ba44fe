"""What of the colours of an image is left in h and in g(h)? The mechanism behind the paper's nonlinear head.

    PYTHONPATH=. python benchmarks/what_h_keeps.py DIR/runs/nonlinear_128-seed0 DIR/runs/linear_128-seed0

reads runs, as a study leaves them with --keep_runs, and prints for every one how much of the variance of an image's
mean colour a linear regression explains from its features (R^2 on the test images, the mean of the three channels;
ridge, its strength by cross-validation on the training images). Colour distortion teaches g(h) to forget colours;
SimCLR, Section 4.2 and Table 3, has h keep what a nonlinear head can forget behind it.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf
from sklearn.linear_model import RidgeCV

from tf_simclr.data.datasets import load_sources
from tf_simclr.data.source import ImageSource
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.extraction import extracted
from tf_simclr.evaluate.load import Trained, load_trained
from tf_simclr.evaluate.measures.standardise import Standardiser

ENDPOINTS = {"h": "final_avg_pool", "g(h)": "proj_head_output"}
STRENGTHS = np.logspace(-2, 4, 7)


def mean_colours(source: ImageSource) -> np.ndarray:
    """Float64 [n, 3] in [0, 1], in the canonical order."""
    images = source.records(None).map(lambda record: tf.reduce_mean(source.decode(record["data"]), axis=[0, 1]))
    return np.stack([*images.as_numpy_iterator()]).astype(np.float64)


def features(trained: Trained, source: ImageSource) -> dict[str, np.ndarray]:
    """Features [n, d] by endpoint, of the evaluation view, in the canonical order."""
    loader = EvalLoader.of(trained.config.data, tf.distribute.get_strategy())
    return extracted(trained.model, source, loader, tuple(ENDPOINTS.values()))[0]


def main() -> None:
    """Prints a row for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+")
    for run in parser.parse_args().runs:
        trained = load_trained(run)
        data = trained.config.data
        train, test = load_sources(
            data.dataset,
            data_dir=data.data_dir,
            train_split=data.train_split,
            eval_split=data.eval_split,
            seed=data.data_seed,
        )
        assert test is not None
        x, x_test = features(trained, train), features(trained, test)
        explained = []
        for name, endpoint in ENDPOINTS.items():
            scaled = Standardiser.of(x[endpoint])
            fitted = RidgeCV(STRENGTHS).fit(scaled(x[endpoint]), mean_colours(train))
            explained.append(f"{name} {fitted.score(scaled(x_test[endpoint]), mean_colours(test)):.3f}")
        print(f"{run}: {', '.join(explained)}", flush=True)


if __name__ == "__main__":
    main()
