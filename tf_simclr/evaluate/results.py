"""Result files of a run: result.json and result_<step>.json."""

from __future__ import annotations

import os
from typing import Any

from tf_simclr.files import write_json


def write_results(model_dir: str, step: int, metrics: dict[str, Any]) -> None:
    """Writes metrics of a step into result_<step>.json and, as the newest, result.json; adds "global_step"."""
    values = {**metrics, "global_step": step}
    write_json(os.path.join(model_dir, f"result_{step}.json"), values)
    write_json(os.path.join(model_dir, "result.json"), values)
