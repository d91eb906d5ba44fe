"""Which images of a folder without splits are held out, and the list of them beside a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tf_simclr.data.scan import some
from tf_simclr.files import read_json, write_json
from tf_simclr.stored import require_types

if TYPE_CHECKING:
    from tf_simclr.data.source import ImageSource

HELD_OUT_FILE = "held_out.json"
_FORMER_EXTENSIONS = (b".jpg", b".jpeg", b".png", b".gif", b".bmp", b".webp")
EVALUATION, VALIDATION = "evaluation", "validation"


class HeldOut(NamedTuple):
    """What was drawn out of a training split for evaluation, by names of images.

    Attributes:
        names: of the images that are held out.
        draw: what the draw depends on beside the images, as text.
        sure: those of `names` that are held out by their own name, whatever other images there are.
        kept: images of the training split that would be held out by their own name, and are all that their class has.
    """

    names: tuple[str, ...]
    draw: str
    sure: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


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
    numbers = _numbers(names, seed, purpose)
    held = numbers < _bound(share)
    for members in _members(labels):
        own = numbers[members]
        if len(members) == 1:
            held[members] = False
        elif not held[members].any():
            held[members[own.argmin()]] = True
        elif held[members].all():
            held[members[own.argmax()]] = False
    return held


def by_own_hash(names: Sequence[bytes], seed: int, share: float, purpose: str) -> np.ndarray:
    """Which images `by_hash` holds out by their own names, before it looks at their classes; bool [n]."""
    return _numbers(names, seed, purpose) < _bound(share)


def _numbers(names: Sequence[bytes], seed: int, purpose: str) -> np.ndarray:
    key = hashlib.blake2b(f"{purpose} {seed}".encode()).digest()
    digests = (hashlib.blake2b(name, digest_size=8, key=key).digest() for name in names)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)


def _bound(share: float) -> np.uint64:
    return np.uint64(share * 2**64)


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


def write_held_out(directory: str, train: ImageSource, *, anew: bool = False) -> None:
    """Writes which images a run keeps out of its training, where the program itself has drawn them.

    When a run goes on with other images or another draw, the list keeps those that no start of the run has trained on.

    Args:
        directory: of the run; it must be there.
        train: the training split.
        anew: whether no earlier start has left anything of its training: what is listed there counts no more.
    """
    if train.held_out is None:
        return
    path = os.path.join(directory, HELD_OUT_FILE)
    now, before = train.held_out(), None if anew else _listed(path)
    draw, names, kept = now.draw, now.names, set(now.kept)
    if before is not None:
        never = set(before.names) | _never_trained_on(before, now)
        names = tuple(name for name in names if name in never)
        kept |= set(before.kept)
        draw = draw if before.draw == draw else ""
    values = {"data_dir": train.location, "held_out": list(names), "draw": draw, "kept": sorted(kept)}
    write_json(path, values)


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
    known = set(before.names)
    never = known | _never_trained_on(before, now)
    new = [name for name in now.names if name not in never]
    assert train.names is not None
    back = [name for name in train.names() if name in known]
    notes = []
    if new:
        notes.append(
            f"{len(new)} of {len(now.names)} held-out images are not in {HELD_OUT_FILE} of this run, which may have "
            f"trained on them: {some(new)}"
        )
    if back:
        notes.append(f"{len(back)} images that this run held out are trained on from now on: {some(back)}")
    return tuple(notes)


def _never_trained_on(before: HeldOut, now: HeldOut) -> set[str]:
    """Images that the same draw has held out since they are there: their own number says so, and not their class."""
    return set(now.sure) - set(before.kept) if before.draw == now.draw and now.draw else set()


@dataclass(frozen=True)
class _Listed:
    """What is read of the file of the held-out images."""

    held_out: list[str]
    draw: str
    kept: list[str]


def _listed(path: str) -> HeldOut | None:
    values = read_json(path)
    if values is None:
        return None
    require_types(values, _Listed, path)
    # The first version of the file had neither of the last two.
    return HeldOut(tuple(values["held_out"]), values.get("draw", ""), kept=tuple(values.get("kept", ())))
