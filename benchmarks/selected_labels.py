"""What chosen labels are worth: accuracy with few labels, chosen by `select` or at random.

    python -m tf_simclr embed --checkpoint=runs/mine --data_dir=IMAGES --out=index
    python -m benchmarks.selected_labels --index=index --train=train --test=test

The images need labels and a split for testing. Chooses labels among the images of one split by each strategy and seed,
fits a logistic regression on standardised features of those images alone, and prints the accuracy on another split:
mean and standard error over the seeds. `uncertain` needs labels to begin with: half of its images are typical ones.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tf_simclr.index.selection import Pool, select
from tf_simclr.index.store import Index, open_index

STRATEGIES = ("typical", "diverse", "uncertain", "random")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", required=True)
    parser.add_argument("--train", default="train")
    parser.add_argument("--test", default="test")
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 100, 500])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    index = open_index(options.index)
    train, test = (part_of(index, split) for split in (options.train, options.test))
    print("| labels | " + " | ".join(STRATEGIES) + " |")
    print("|---" * (len(STRATEGIES) + 1) + "|")
    for number in options.labels:
        cells = []
        for strategy in STRATEGIES:
            found = [accuracy(train, test, chosen(train, number, strategy, seed)) for seed in range(options.seeds)]
            error = np.std(found, ddof=1) / np.sqrt(len(found))
            cells.append(f"{np.mean(found):.1%} ± {error:.1%}")
        print(f"| {number} | " + " | ".join(cells) + " |", flush=True)


def chosen(train: Index, number: int, strategy: str, seed: int) -> np.ndarray:
    """So many rows of `train`, by a strategy."""
    if strategy != "uncertain":
        return select(train, number, strategy, seed)
    known = select(train, number // 2, "typical", seed)
    pool = Pool(np.setdiff1d(np.arange(len(train.rows)), known), known)
    return np.concatenate([known, select(train, number - len(known), strategy, seed, pool)])


def part_of(index: Index, split: str) -> Index:
    """The labelled images of a split."""
    places = [place for place, row in enumerate(index.rows) if row.split == split and row.label]
    if not places:
        raise SystemExit(f"the index has no labelled image of the split {split!r}")
    return index.part(np.array(places))


def accuracy(train: Index, test: Index, rows: np.ndarray) -> float:
    """Of a classifier that has the labels of these rows of `train` alone, on `test`."""
    labels = np.array([train.rows[row].label for row in rows.tolist()])
    scaler = StandardScaler().fit(np.asarray(train.features, np.float32))
    model = LogisticRegression(max_iter=2000).fit(scaler.transform(train.features[rows]), labels)
    expected = np.array([row.label for row in test.rows])
    return float(np.mean(model.predict(scaler.transform(test.features)) == expected))


if __name__ == "__main__":
    main()
