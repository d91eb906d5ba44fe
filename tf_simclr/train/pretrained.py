"""Starting to fine-tune from a checkpoint: what of it is taken, and what starts afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tf_simclr import compat
from tf_simclr.config import ExperimentConfig
from tf_simclr.data.class_order import describe_difference, positions
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train import checkpoints
from tf_simclr.train.build import Say
from tf_simclr.train.finite import require_finite_values
from tf_simclr.train.manifest import class_names_of

_HEAD_KERNEL = "supervised_head/dense/kernel"
Shapes = Mapping[str, tuple[int, ...]]


def load_pretrained(config: ExperimentConfig, model: SimCLRModel, class_names: Sequence[str], say: Say) -> None:
    """Starts fine-tuning from a checkpoint: the encoder, what is used of the projection head, a head that fits.

    Args:
        config: train.checkpoint names a prefix or a directory.
        model: receives the values.
        class_names: of its supervised head, in the order of the logits.
        say: receives lines on what was loaded and what starts afresh.

    Raises:
        InputError: no checkpoint, or one of another architecture.
        DivergedError: one with a value that is not finite.
    """
    prefix = checkpoints.resolve(config.train.checkpoint or "", say)
    other = checkpoints.foreign_at(prefix)
    stored = checkpoints.shapes_in(prefix)
    named = model.named_variables()
    encoder, projection, head = (_part(named, part) for part in ("encoder", "projection_head", "supervised_head"))
    wanted, loaded = dict(encoder), ["encoder"]
    if config.train.ft_proj_selector != 0 or _fits(projection, stored):
        wanted |= projection
        loaded += ["projection head"] * bool(projection)
    checkpoints.check_matches(prefix, wanted, stored, exact_parts=["encoder"])
    there = class_names_of(prefix)
    fresh = _why_fresh(config, head, stored, there, class_names)
    if not fresh:
        wanted |= head
        loaded.append("supervised head")
    values = checkpoints.read_values(prefix, wanted)
    if not fresh:
        values |= _in_order(prefix, {path: values[path] for path in head}, there, class_names, say)
    for path, variable in wanted.items():
        compat.raw_variable(variable).assign(values[path])
    require_finite_values(wanted, f"the checkpoint {prefix}")
    if other is not None:
        here = config.to_flags()
        for line in other.describe(given={name for name, value in other.flags().items() if here[name] != value}):
            say(line)
    say(f"loaded {', '.join(loaded)} from {prefix}" + (f"; the supervised head {fresh}" if fresh else ""))


def _why_fresh(
    config: ExperimentConfig,
    head: Mapping[str, Any],
    stored: Shapes,
    there: Sequence[str] | None,
    class_names: Sequence[str],
) -> str:
    """Why the supervised head is not taken from the checkpoint; empty where it is."""
    if config.model.zero_init_logits_layer:
        return "starts from zeros (--zero_init_logits_layer)"
    if not _fits(head, stored):
        kernel = stored.get(_HEAD_KERNEL)
        if kernel is None:
            return "starts afresh: the checkpoint has none"
        return f"starts afresh: the checkpoint's has {kernel[1]} classes and {kernel[0]} inputs"
    if there is not None and positions(class_names, there) is None:
        return f"starts afresh: the checkpoint's is for other classes ({describe_difference(there, class_names)})"
    return ""


def _in_order(
    prefix: str, values: dict[str, Any], there: Sequence[str] | None, class_names: Sequence[str], say: Say
) -> dict[str, Any]:
    """The values of a supervised head, whose last axis counts the classes, in the order of these names."""
    place = None if there is None else positions(class_names, there)
    if place is None:
        say(f"note: {prefix} does not name the classes of its supervised head: they are taken for those of the images")
        return values
    if list(place) == sorted(place):
        return values
    say("the classes have another order in the checkpoint: the columns of its supervised head are put in order")
    return {path: value[..., list(place)] for path, value in values.items()}


def _part(named: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {path: v for path, v in named.items() if path.startswith(f"{part}/")}


def _fits(variables: Mapping[str, Any], stored: Shapes) -> bool:
    return all(stored.get(path) == tuple(v.shape) for path, v in variables.items())
