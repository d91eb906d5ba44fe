"""The splits of a folder of images, listed without TensorFlow.

What a folder may look like is the business of `layout.py`: class folders with or without splits, a flat folder, a table
of labels. Folders are read recursively. Whatever is left out is counted and named. Only the first bytes of every file
are read here; a file that turns out to be damaged further on raises an error that names it when it is decoded.
"""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

import numpy as np

from tf_simclr.config import HOLD_OUT_DRAWS
from tf_simclr.config.paths import absolute
from tf_simclr.data.hold_out import EVALUATION, VALIDATION, HeldOut, by_count, by_hash, by_own_hash
from tf_simclr.data.layout import Layout, find_split, recognise_layout
from tf_simclr.data.listing import ListedSplit, Listing, listed_split, part_of, relative_paths
from tf_simclr.data.request import SplitRequest
from tf_simclr.data.scan import some
from tf_simclr.data.split_names import bare_name
from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.escape import as_text

HELD_OUT_SPLIT = "held-out"


class ListedSplits(NamedTuple):
    """The splits of a folder, listed.

    Attributes:
        train: what is trained on.
        evaluation: what is measured on; None without labels, or in a folder with splits where none was asked for.
        validation: what settings are chosen on; None where none was asked for.
        request: what was asked for.
        layout: of the folder, which keeps what was listed of it.
    """

    train: ListedSplit
    evaluation: ListedSplit | None
    validation: ListedSplit | None
    request: SplitRequest
    layout: Layout


def list_folder(request: SplitRequest, before: ListedSplits | None = None) -> ListedSplits:
    """Finds the images below a folder and makes splits of them.

    Args:
        request: which, and how.
        before: what an earlier look at a folder found. Where it was the same folder, its files are not looked at again.

    Raises:
        InputError: no such folder, no image, no such split, a class without a readable image, an image in a format that
            cannot be decoded, different classes in two splits, or a table of labels that cannot be used.
    """
    if before is not None and before.request == request:
        return before
    require_range("hold_out", request.hold_out, above=0, at_most=0.9)
    require_choice("hold_out_by", request.hold_out_by, HOLD_OUT_DRAWS)
    asked = (_existing(request.data_dir), request.train_split, request.labels, request.reading)
    layout = before.layout if before is not None and before.layout.asked == asked else recognise_layout(*asked)
    splits = _own_splits(layout, request) if layout.splits else _drawn_splits(layout, request)
    for other in splits[1:]:
        if other is not None:
            _require_same_classes(splits[0], other)
    return ListedSplits(*splits, request, layout)


def whole_folder(request: SplitRequest) -> Layout:
    """A folder as it is laid out, in which nothing is held out. Errors as in `list_folder`."""
    return recognise_layout(_existing(request.data_dir), request.train_split, request.labels, request.reading)


def _existing(data_dir: str | None) -> str:
    """The folder's absolute path."""
    if not data_dir:
        raise InputError(
            f"The data set `folder` needs --data_dir=DIR, a folder of images. Received: data_dir={data_dir!r}"
        )
    path = absolute(data_dir)
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise InputError(f"--data_dir must be a folder of images. Received: data_dir={data_dir!r}, which is a file")
        raise InputError(f"There is no such folder: check --data_dir. Received: data_dir={data_dir!r}")
    return path


# ---- Splits ----


_Splits = tuple[ListedSplit, "ListedSplit | None", "ListedSplit | None"]


def _own_splits(layout: Layout, request: SplitRequest) -> _Splits:
    """The splits that the folder has."""
    name, note = find_split(layout, request.train_split, for_evaluation=False)
    train = _read(layout, name, note)
    if not train.labelled:
        return train, None, None
    others: list[ListedSplit | None] = []
    for split, for_evaluation in ((request.eval_split, True), (request.validation_split, False)):
        if split is None:
            others.append(None)
            continue
        name, note = find_split(layout, split, for_evaluation=for_evaluation)
        others.append(_read(layout, name, note))
    return train, others[0], others[1]


def _read(layout: Layout, split: str, note: str | None) -> ListedSplit:
    listing = layout.read(bare_name(split))
    notes = (*layout.notes, *([note] if note else []), *listing.notes)
    return listed_split(layout.root, split, dataclasses.replace(listing, notes=notes))


def _drawn_splits(layout: Layout, request: SplitRequest) -> _Splits:
    """Splits that are drawn from a folder without any."""
    train_split, eval_split, validation_split = request.train_split, request.eval_split, request.validation_split
    seed, share, draw = request.seed, request.hold_out, request.hold_out_by
    root, listing = layout.root, layout.read("")
    notes = (*layout.notes, *listing.notes)
    if not listing.classes:
        return listed_split(root, train_split, dataclasses.replace(listing, notes=notes)), None, None
    _require_other_names(root, train_split, eval_split, validation_split)
    listing = listing if draw == "count" else _each_file_once(root, listing)
    notes = (*layout.notes, *listing.notes)
    names = relative_paths(root, listing)
    if draw == "count":
        held = by_count(names, listing.labels, seed, share)
    else:
        held = by_hash(names, listing.labels, seed, share, EVALUATION)
    if not held.any():
        raise InputError(
            "Every class has one image only, so that none can be held out for evaluation: add images. "
            f"Received: data_dir={as_text(root)!r}"
        )
    # Also where nothing is evaluated now: a later evaluation must find images that were not trained on.
    taken = eval_split is None or bare_name(eval_split) == bare_name(validation_split or "")
    held_split = HELD_OUT_SPLIT if taken or eval_split is None else eval_split
    notes += (
        f"{as_text(root)} has no splits: {held.sum()} of its {len(held)} images (about {share:.0%} of each class, at "
        f"least one; seed {seed}) are held out "
        + ("for evaluation" if held_split == HELD_OUT_SPLIT else f"as the split {held_split!r}"),
    )
    evaluation = listed_split(root, held_split, part_of(listing, held))
    kept = part_of(listing, ~held)
    validation = None
    if validation_split is not None:
        chosen = by_hash(relative_paths(root, kept), kept.labels, seed, share, VALIDATION)
        notes += (
            f"{chosen.sum()} of the other {len(chosen)} are taken out of the training split as {validation_split!r}",
        )
        validation = listed_split(root, validation_split, part_of(kept, chosen))
        kept = part_of(kept, ~chosen)

    def held_out() -> HeldOut:
        own = by_own_hash(names, seed, share, EVALUATION) if draw == "hash" else np.zeros_like(held)

        def named(chosen: np.ndarray) -> tuple[str, ...]:
            return tuple(as_text(os.fsdecode(name)) for name, one in zip(names, chosen, strict=True) if one)

        return HeldOut(named(held), f"{draw}, seed {seed}, share {share:g}", named(held & own), named(~held & own))

    train = listed_split(root, train_split, dataclasses.replace(kept, notes=notes))
    return dataclasses.replace(train, held_out=held_out), evaluation, validation


def _require_other_names(root: str, train_split: str, *others: str | None) -> None:
    for split in others:
        if split is not None and bare_name(split) == bare_name(train_split):
            raise InputError(
                f"Two splits must not share images. Received: {split!r} beside the training split {train_split!r} of "
                f"{as_text(root)}, which has no splits: what is held out needs a name of its own, as in "
                "--eval_split=test"
            )


def _each_file_once(root: str, listing: Listing) -> Listing:
    """Without further paths to a file in its own class: on both sides of a hold-out, they would be a leak."""
    first: dict[str, int] = {}
    keep: np.ndarray = np.ones(len(listing.files), bool)
    for place, file in enumerate(listing.files):
        before = first.setdefault(file.key, place)
        keep[place] = before == place
        if listing.labels[before] != listing.labels[place]:
            one, other = (as_text(os.path.relpath(listing.files[p].path, root)) for p in (before, place))
            raise InputError(
                f"A file must have one class. Received: {one!r} and {other!r} of {as_text(root)}, which are links to "
                "one file. Remove one of them"
            )
    if keep.all():
        return listing
    paths = [as_text(file.path) for file, kept in zip(listing.files, keep, strict=True) if not kept]
    notes = (*listing.notes, f"ignored {len(paths)} links to files that were read already: {some(paths)}")
    return dataclasses.replace(part_of(listing, keep), notes=notes)


def _require_same_classes(train: ListedSplit, evaluation: ListedSplit) -> None:
    missing = [name for name in train.class_names if name not in evaluation.class_names]
    extra = [name for name in evaluation.class_names if name not in train.class_names]
    if missing or extra:
        differences = [
            f"only in {split!r}: {some(names)}"
            for split, names in ((train.split, missing), (evaluation.split, extra))
            if names
        ]
        raise InputError(
            "The training and the evaluation split must have the same class folders. "
            f"Received: {'; '.join(differences)}"
        )
