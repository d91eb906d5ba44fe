"""Which images of a folder without splits are held out, and the list of them beside a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from tf_simclr.data.scan import some
from tf_simclr.data.source import ImageSource
from tf_simclr.files import read_json, write_json

HELD_OUT_FILE = "held_out.json"
_FORMER_EXTENSIONS = (b".jpg", b".jpeg", b".png", b".gif", b".bmp", b".webp")
EVALUATION, VALIDATION = "evaluation", "validation"


def by_hash(names: Sequence[bytes], labels: Sequence[int], seed: int, share: float, purpose: str) -> np.ndarray:
    """Holds out a share of each class, each image by its own name.

    An image is held out when a hash of its name, the seed and the purpose, as a number in [0, 1), is below the share.
    So no image changes sides when others come or go, with two exceptions: a class of which none would be held out gives
    the image with the smallest number, and one of which all would be keeps the one with the largest. A class of one
    image keeps it.

    Args:
        names: path of each image relative to the folder, with / between folders.
        labels: class of each.
        seed: another seed holds out others.
        share: of each class, in (0, 1); the number that is held out varies as in a lottery.
        purpose: EVALUATION or VALIDATION, which draw independently of each other.

    Returns:
        bool [n], whether an image is held out.
    """
    key = hashlib.blake2b(f"{purpose} {seed}".encode()).digest()
    numbers = np.array(
        [int.from_bytes(hashlib.blake2b(name, digest_size=8, key=key).digest(), "big") for name in names], np.uint64
    )
    held = numbers < np.uint64(share * 2**64)
    for members in _members(labels):
        own = numbers[members]
        if len(members) == 1:
            held[members] = False
        elif not held[members].any():
            held[members[own.argmin()]] = True
        elif held[members].all():
            held[members[own.argmax()]] = False
    return held


def by_count(names: Sequence[bytes], labels: Sequence[int], seed: int, share: float) -> np.ndarray:
    """The draw of earlier versions, for runs that began with it: round(share * n) of each class in a random order.

    It depends on the number of images: when one of them goes, half of those that are held out were trained on before.
    Only files with the names that those versions took are drawn.

    Args:
        names: as in `by_hash`, sorted as they were then.
        labels: class of each.
        seed: another seed holds out others.
        share: of each class.

    Returns:
        bool [n], whether an image is held out.
    """
    drawn = np.array([name.lower().endswith(_FORMER_EXTENSIONS) for name in names], bool)
    held: np.ndarray = np.zeros(len(names), bool)
    for label, members in enumerate(_members(labels)):
        known = members[drawn[members]]
        if len(known) > 1:
            number = min(max(1, round(share * len(known))), len(known) - 1)
            order = np.random.default_rng([seed % 2**63, label]).permutation(len(known))
            held[known[order[:number]]] = True
    return held


def _members(labels: Sequence[int]) -> list[np.ndarray]:
    """The positions of each class, ascending."""
    table = np.asarray(labels)
    order = np.argsort(table, kind="stable")
    return np.split(order, np.searchsorted(table[order], np.arange(1, int(table.max(initial=0)) + 1)))


# ---- The list beside a run ----


def write_held_out(directory: str, train: ImageSource) -> None:
    """Writes which images a run keeps out of its training, where the program itself has drawn them.

    When a run goes on with another draw, the list keeps only those that no start of the run has trained on.

    Args:
        directory: of the run; it must be there.
        train: the training split.
    """
    if train.held_out is None:
        return
    path = os.path.join(directory, HELD_OUT_FILE)
    now, before = train.held_out(), _listed(path)
    never = now if before is None else tuple(name for name in now if name in before)
    write_json(path, {"data_dir": train.location, "held_out": list(never)})


def compare_held_out(directory: str, train: ImageSource) -> tuple[str, ...]:
    """Lines on how the draw differs from the one that a run began with; none where it does not.

    Args:
        directory: of the run.
        train: the training split as it is now.
    """
    before = _listed(os.path.join(directory, HELD_OUT_FILE))
    if train.held_out is None or before is None:
        return ()
    now = train.held_out()
    new = [name for name in now if name not in before]
    assert train.names is not None
    back = [name for name in train.names() if name in before]
    notes = []
    if new:
        notes.append(
            f"{len(new)} of {len(now)} held-out images are not in {HELD_OUT_FILE} of this run, which may have trained "
            f"on them: {some(new)}"
        )
    if back:
        notes.append(f"{len(back)} images that this run held out are trained on from now on: {some(back)}")
    return tuple(notes)


def _listed(path: str) -> set[str] | None:
    values = read_json(path)
    return None if values is None else set(values["held_out"])
