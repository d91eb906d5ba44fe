"""Lists of chosen examples, so that others can use the same ones."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.label_table import LabelTable, Subset
from tf_simclr.data.source import ImageSource
from tf_simclr.data.tfds_source import MEMORY_BUDGET
from tf_simclr.errors import InputError
from tf_simclr.files import to_json

FORMAT = 1


def write_chosen(path: str, subset: Subset) -> None:
    """Writes which examples were chosen, as JSON, so that others can use the same.

    The file holds {"format", "dataset", "split", "num_examples" of the whole split, "chosen": a list of {"index",
    "label", "class"}}. The index is that of the source's records.
    """
    names = subset.source.class_names
    values = {
        "format": FORMAT,
        "dataset": subset.source.name,
        "split": subset.source.split,
        "num_examples": subset.num_examples_of_whole,
        "chosen": [
            {"index": index, "label": label, "class": names[label]}
            for index, label in zip(subset.indices, subset.labels, strict=True)
        ],
    }
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(to_json(values, indent=1, sort_keys=False, ensure_ascii=False) + "\n")


def read_chosen(path: str, source: ImageSource, *, memory_budget: int = MEMORY_BUDGET) -> Subset:
    """Applies a list written by `write_chosen` to a split again.

    Args:
        path: of the list.
        source: the split it was chosen from, opened in the same way. It may lie in another folder.
        memory_budget: as in `class_balanced`.

    Returns:
        the subset, the same as when it was written.

    Raises:
        InputError: there is no such file, it is no such list, or the split has another number of examples, or lacks a
            chosen one, or gives it another class.
    """
    values = _list_in(path)
    table = LabelTable.of(source)
    if values["num_examples"] != len(table.index):
        raise InputError(
            f"A list of chosen examples must belong to the split. Received: {path}, chosen from "
            f"{values['num_examples']} examples, for {source.split!r} with {len(table.index)}. Open the same split"
        )
    indices = [entry["index"] for entry in values["chosen"]]
    rows = np.minimum(np.searchsorted(table.index, indices), len(table.index) - 1)
    for entry, row in zip(values["chosen"], rows, strict=True):
        _require_fits(path, entry, table, int(row), source)
    return table.subset(source, rows, memory_budget)


def _list_in(path: str) -> dict[str, Any]:
    try:
        with tf.io.gfile.GFile(path) as file:
            values = json.loads(file.read())
        indices = [entry["index"] for entry in values["chosen"]]
        sound = values["format"] == FORMAT and all({"label", "class"} <= set(entry) for entry in values["chosen"])
        sound = sound and "num_examples" in values and len(set(indices)) == len(indices) > 0
        sound = sound and all(isinstance(index, int) for index in indices)
    except tf.errors.OpError as error:
        raise InputError(f"The list of chosen examples cannot be read: check the path. Received: {path}") from error
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise InputError(
            "A list of chosen examples must be as `write_chosen` writes it, each example once. "
            f"Received: {path}, which is not. Write it again"
        )
    return values


def _require_fits(path: str, entry: dict[str, Any], table: LabelTable, row: int, source: ImageSource) -> None:
    """Raises InputError when an entry of a list is not what the split has at this row."""
    found = "nothing under this index"
    if table.index[row] == entry["index"] and table.usable[row]:
        label = int(table.label[row])
        if (label, source.class_names[label]) == (entry["label"], entry["class"]):
            return
        found = f"class {label} {source.class_names[label]!r}"
    raise InputError(
        f"A list of chosen examples must belong to the split. Received: {path}, where example {entry['index']} is "
        f"class {entry['label']} {entry['class']!r}; {source.split!r} has {found}. Open the same split"
    )
