"""What the results of a study's directory have in common: study.json, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import tensorflow as tf

import tf_simclr
from tf_simclr.config import DataConfig, RuntimeConfig, build_config, of_recorded
from tf_simclr.config.option import affecting
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures.linear import PROBE
from tf_simclr.files import write_json
from tf_simclr.studies.few_labels import settings
from tf_simclr.studies.recorded import STUDY_FILE, read_study
from tf_simclr.studies.run_cell import StudyContext
from tf_simclr.studies.study import FEW_LABELS, Study
from tf_simclr.studies.transfer import protocols_of

# Of what is in a directory; another number means that its results cannot be compared with ours.
FORMAT = 2
# Versions that compute a cell in the same way: a study that one of them began goes on with another.
COMPARABLE = frozenset({"0.1.0", "0.2.0"})
# The names of parts of study.json, for a person.
_SHOWN = {"pictures": "images"}
# The linear probe of results of this FORMAT that do not name theirs.
_FIRST_PROBE = {"optimizer": "Nesterov SGD 0.9", "schedule": "cosine", "start": "zeros", "standardise": True}
_FINGERPRINTS = frozenset({"train_fingerprint", "test_fingerprint"})


def identity(study: Study, context: StudyContext) -> dict[str, Any]:
    """What results must have in common to stand in one table.

    Args:
        study: the study.
        context: its scale, flags and images.
    """
    # Where the images lie changes no result: what they are is recorded by fingerprint. Nor does what augments them.
    unaffecting = (
        {field.name for part in (DataConfig, RuntimeConfig) for field in fields(part)}
        - affecting(DataConfig, "study")
        - affecting(RuntimeConfig, "study")
    )
    return {
        "format": FORMAT,
        "version": tf_simclr.__version__,
        "study": study.name,
        "scale": context.scale,
        "flags": {
            "hold_out_by": DataConfig.hold_out_by,
            **{name: value for name, value in context.flags.items() if name not in unaffecting},
        },
        "pictures": {
            "train": context.splits.train.num_examples,
            "test": context.splits.test.num_examples,
            "classes": list(context.splits.train.class_names),
            "train_fingerprint": context.splits.train.fingerprint,
            "test_fingerprint": context.splits.test.fingerprint,
        },
        "probe": PROBE,
        **({} if context.given is None else {"checkpoint": context.given.digest}),
        **_labels(study, context),
        **_sets(context),
        "cells": {cell.name: dict(cell.flags) for cell in study.cells(context.scale)},
    }


def _labels(study: Study, context: StudyContext) -> dict[str, Any]:
    """How networks are trained on few labels, in a study whose cells are."""
    if not any(cell.task == FEW_LABELS for cell in study.cells(context.scale)):
        return {}
    protocols = settings(context.scale, build_config(dict(context.flags)))
    return {"few_labels": {kind: protocols.settings_of(kind) for kind in ("finetune", "supervised")}}


def _sets(context: StudyContext) -> dict[str, Any]:
    """Which data sets networks are transferred to, and how they are evaluated there."""
    if not context.sets:
        return {}
    found = {
        name: {
            "metric": one.target.metric,
            "train_fingerprint": one.splits.train.fingerprint,
            "test_fingerprint": one.splits.test.fingerprint,
            "validation_split": one.target.validation_split,
        }
        for name, one in context.sets.items()
    }
    protocols = protocols_of(context.scale, next(iter(context.sets.values())).target, 0, ".")
    return {"sets": found, "transfer": {kind: protocols.settings_of(kind) for kind in ("logreg", "finetune_grid")}}


def claim(directory: str, wanted: Mapping[str, Any], *, new: bool = True) -> tuple[str, ...]:
    """Marks a directory as that of a study.

    Args:
        directory: of the results.
        wanted: the study's identity.
        new: whether the directory may be one in which nothing was run yet.

    Returns:
        lines that a person should see.

    Raises:
        InputError: it holds results that cannot stand in the same table, or nothing.
    """
    path = os.path.join(directory, STUDY_FILE)
    found = read_study(directory)
    if found is None and not new:
        raise InputError(
            f"`report` merges what cells of {wanted['study']} have left in `model_dir`. Received: "
            f"model_dir={directory}, where there is nothing. Pass the --model_dir of the cells, or leave out --report"
        )
    if found is None:
        tf.io.gfile.makedirs(directory)
        write_json(path, dict(wanted))
        return ()
    says_which_images = set(found.get("pictures", {})) >= _FINGERPRINTS
    if not says_which_images:
        found = _of_earlier_version(found, wanted)
    if {found.get("version"), wanted["version"]} <= COMPARABLE:
        found = {**found, "version": wanted["version"]}
    differences = _differences({"probe": _FIRST_PROBE, **found}, wanted)
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise InputError(
            f"`model_dir` holds the results of another study, setting or version: {'; '.join(differences[:3])}{more}. "
            f"Received: model_dir={directory}. Pass another --model_dir"
        )
    if says_which_images:
        return ()
    write_json(path, dict(wanted))
    return (f"the results in {directory} do not say what their images were: taken to be those of now",)


def _of_earlier_version(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier version recorded, which cannot say whether its images were these, with the images of now."""
    flags = found.get("flags", {})
    images = {name: wanted["pictures"][name] for name in _FINGERPRINTS}
    return {
        **found,
        "pictures": {**found.get("pictures", {}), **images},
        "flags": {"hold_out_by": of_recorded(flags)["hold_out_by"], **flags},
    }


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key in dict.fromkeys((*wanted, *found)):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(old, new, f"{prefix}{_SHOWN.get(key, key)} ")
        elif old != new and not (isinstance(old, list) and old == list(new or ())):
            lines.append(f"{prefix}{key} is {old!r} there and {new!r} here")
    return lines
