"""Files for TensorBoard's embedding projector: features, names and thumbnails of an index."""

from __future__ import annotations

import io
import json
import math
import os

import numpy as np

from tf_simclr.escape import as_text
from tf_simclr.file_systems import file_system_of
from tf_simclr.index.contents import Contents
from tf_simclr.index.page import thumbnail
from tf_simclr.index.store import Index

CONFIG_FILE = "projector_config.pbtxt"
# What the projector loads as one image: browsers refuse larger ones.
_SPRITE_SIDE, _THUMBNAIL = 8192, 64
MOST_IMAGES = 100_000


def write_projector(index: Index, rows: np.ndarray, directory: str) -> None:
    """Writes what `tensorboard --logdir=DIRECTORY` shows under "Projector".

    Args:
        index: read as far as the rows go.
        rows: int64 [m], which images, at most MOST_IMAGES.
        directory: made where it is missing. The config is written last: until then TensorBoard sees nothing.
    """
    files = file_system_of(directory)
    files.make(directory)
    lines = ["path\tclass\tsplit", *("\t".join(_name(index, row)) for row in rows.tolist())]
    files.write(os.path.join(directory, "metadata.tsv"), ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    features = index.normalised(rows)
    files.write(os.path.join(directory, "features.bytes"), features.astype("<f4").tobytes())
    sprite, side = _sprite(index, rows)
    files.write(os.path.join(directory, "sprite.jpg"), sprite)
    content = _CONFIG.format(
        name=json.dumps(index.identity.endpoint, allow_nan=False),
        rows=len(rows),
        dimension=features.shape[1],
        side=side,
    )
    files.write(os.path.join(directory, CONFIG_FILE), content.encode())


_CONFIG = """embeddings {{
  tensor_name: {name}
  tensor_path: "features.bytes"
  tensor_shape: {rows}
  tensor_shape: {dimension}
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.jpg"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def _name(index: Index, row: int) -> tuple[str, str, str]:
    found = index.rows[row]
    return as_text(found.path), as_text(found.label), as_text(found.split)


def _sprite(index: Index, rows: np.ndarray) -> tuple[bytes, int]:
    """All thumbnails in a square, row by row, as JPEG; and the side of one. What cannot be read stays grey."""
    from PIL import Image

    across = math.ceil(math.sqrt(len(rows)))
    side = min(_THUMBNAIL, _SPRITE_SIDE // across)
    whole = Image.new("RGB", (across * side, across * side), "white")
    contents = Contents(index)
    for place, row in enumerate(rows.tolist()):
        file = contents.of(row)
        content = thumbnail(file, side) if file else b""
        tile = Image.open(io.BytesIO(content)) if content else Image.new("RGB", (side, side), "lightgrey")
        left, top = (place % across) * side, (place // across) * side
        whole.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    stored = io.BytesIO()
    whole.save(stored, "JPEG", quality=85)
    return stored.getvalue(), side
