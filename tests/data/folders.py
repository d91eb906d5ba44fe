"""Small folders of images for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def make_images(root: Path, names: Iterable[str], side: int = 4) -> Path:
    """Writes an image of its own grey level under each name, a path relative to the root."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((side, side, 3), number % 256, np.uint8)).save(path, format="png")
    return root


def class_folders(counts: dict[str, int], extension: str = ".png") -> list[str]:
    """CLASS/000.png and so on, as many of each class as it says."""
    return [f"{name}/{number:03d}{extension}" for name, count in counts.items() for number in range(count)]
