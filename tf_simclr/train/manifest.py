"""What a checkpoint says beside its values: the classes of its head, and the images it was trained on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tf_simclr
from tf_simclr.config import CARD_FILE
from tf_simclr.errors import InputError
from tf_simclr.files import read_json, to_json
from tf_simclr.stored import require_types
from tf_simclr.train import checkpoints

if TYPE_CHECKING:
    from tf_simclr.data.source import ImageSource

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What travels with a checkpoint, so that it can be moved and copied alone.

    Attributes:
        class_names: of the supervised head, in the order of its logits; empty without a head.
        images: what was trained on, as `describe_images` returns it.
        teacher: digest of the teacher's values; empty where there was none.
    """

    class_names: tuple[str, ...] = ()
    images: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""

    def to_text(self) -> str:
        """As strict JSON."""
        return to_json(
            {
                "format": FORMAT,
                "tf_simclr": tf_simclr.__version__,
                "class_names": list(self.class_names),
                "images": self.images,
                **({"teacher": self.teacher} if self.teacher else {}),
            }
        )


def describe_images(source: ImageSource) -> dict[str, Any]:
    """What can be compared of a split when a run goes on, as JSON values.

    Returns:
        name and split, the number of examples, the absolute location and the fingerprint where there are any, and for
        files two digests that stay the same when the folder is moved: "contents", see `ImageSource`, and "files", of
        their relative paths in order, which is all that earlier versions wrote.
    """
    files = ""
    if source.names is not None and source.read is not None:
        listing = "\n".join(source.names())
        files = hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
    return {
        "name": source.name,
        "split": source.split,
        "examples": source.num_examples,
        "location": source.location,
        "fingerprint": source.fingerprint,
        "files": files,
        "contents": source.contents() if source.contents is not None else "",
    }


def read_manifest(prefix: str) -> Manifest | None:
    """The manifest of a checkpoint; None where it was written by a version without one.

    Raises:
        InputError: the checkpoint cannot be read, or was written by a later version whose manifest is another.
    """
    text = checkpoints.read_text(prefix)
    if text is None:
        return None
    values = json.loads(text)
    if values["format"] != FORMAT:
        raise InputError(
            f"checkpoint {prefix} was written by tf_simclr {values.get('tf_simclr')} with another form of manifest. "
            f"Received: format {values['format']}, where {FORMAT} is known. Use that version"
        )
    return Manifest(tuple(values["class_names"]), values["images"], values.get("teacher", ""))


@dataclass(frozen=True)
class _CardFacts:
    """What is read of the card of an export."""

    step: int
    class_names: tuple[str, ...]
    config: dict[str, Any] | None


def read_card(prefix: str) -> dict[str, Any]:
    """The simclr.json of the export that values belong to; empty without one.

    Args:
        prefix: of the values of a SavedModel.

    Raises:
        InputError: it is damaged.
    """
    place = os.path.join(os.path.dirname(os.path.dirname(prefix)), CARD_FILE)
    card = read_json(place) or {}
    require_types(card, _CardFacts, place)
    return card


def class_names_of(prefix: str) -> tuple[str, ...] | None:
    """The classes of the supervised head in a checkpoint or an export, in the order of its logits.

    Returns:
        empty without a head; None where nothing says which they are.

    Raises:
        InputError: as `read_manifest`.
    """
    if prefix.endswith(checkpoints.SAVED_MODEL_VALUES):
        return tuple(read_card(prefix).get("class_names", ())) or None
    manifest = read_manifest(prefix)
    return None if manifest is None else manifest.class_names
