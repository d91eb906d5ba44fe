"""Result files of a run: result.json, result_<step>.json, flags.json."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow as tf


def write_whole(path: str, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a half."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(temporary, path, overwrite=True)


def write_json(path: str, values: dict[str, Any], *, indent: int | None = 2) -> None:
    """Writes values as JSON, keys sorted; without `indent` on one line, which suits matrices of numbers."""
    write_whole(path, (json.dumps(values, indent=indent, sort_keys=True) + "\n").encode())


def write_results(model_dir: str, step: int, metrics: dict[str, Any]) -> None:
    """Writes metrics of a step into result_<step>.json and, as the newest, result.json; adds "global_step"."""
    values = {**metrics, "global_step": step}
    write_json(os.path.join(model_dir, f"result_{step}.json"), values)
    write_json(os.path.join(model_dir, "result.json"), values)


def read_json(path: str) -> dict[str, Any] | None:
    """The values of a JSON file, None where there is no such file."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())
