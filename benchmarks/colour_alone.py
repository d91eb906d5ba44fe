"""How much of the class does colour tell? What to know before a study of augmentations is run on one's own images.

    PYTHONPATH=. python benchmarks/colour_alone.py --dataset=folder --data_dir=IMAGES

A linear classifier, trained as in the studies, on nothing but a histogram of the 64 coarsest colours of each image (4
levels a channel, the square roots of their shares), beside the most frequent class. Where colours alone tell the class,
an augmentation that takes them away has much to make good, whatever the paper found on photographs.
"""

from __future__ import annotations

import argparse

import numpy as np

from tf_simclr.data.datasets import load_sources
from tf_simclr.data.source import ImageSource
from tf_simclr.evaluate.measures.linear import linear_probe

LEVELS = 4


def histograms(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """Histograms [n, 64] and labels [n] of a split."""
    rows, labels = [], []
    images = source.records(None).map(lambda record: (source.decode(record["data"]), record["label"]))
    for image, label in images.as_numpy_iterator():
        level = np.minimum((image * LEVELS).astype(int), LEVELS - 1)
        color = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
        rows.append(np.sqrt(np.bincount(color.ravel(), minlength=LEVELS**3) / color.size))
        labels.append(int(label))
    return np.stack(rows).astype(np.float32), np.array(labels)


def main() -> None:
    """Prints both accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="shapes")
    parser.add_argument("--data_dir")
    parser.add_argument("--eval_split", default="test")
    options = parser.parse_args()
    train, test = load_sources(options.dataset, data_dir=options.data_dir, eval_split=options.eval_split)
    assert test is not None
    (x, y), (x_test, y_test) = histograms(train), histograms(test)
    classifier = linear_probe(x, y, train.num_classes, epochs=90.0, seed=0)
    correct = classifier.logits(x_test).argmax(axis=1) == y_test
    most = np.bincount(y).argmax()
    print(f"{len(y)} training and {len(y_test)} test images, {train.num_classes} classes")
    print(f"most frequent class {(y_test == most).mean():.1%}, colour histogram {correct.mean():.1%}")


if __name__ == "__main__":
    main()
