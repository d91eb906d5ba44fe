"""What --help and --helpfull print: the flags that most commands need, or all of them, in two columns."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tf_simclr.cli.flags import FLAGFILE_HELP, IGNORED_FLAGS, IGNORED_HELP, Group

_COLUMN, _NARROWEST, _WIDEST = 30, 60, 100
# The end of a sentence, but not of "Figure 5." within one, nor of "e.g.".
_SENTENCE = re.compile(r"(?<=[^.\d]\.) (?=[A-Z0-9-])")


@dataclass(frozen=True)
class Help:
    """What --help shows of a task.

    Attributes:
        examples: commands that can be pasted, once their paths are replaced.
        common: title -> names of the flags that are used most; empty: every flag, in the groups of --helpfull.
        directory: what --model_dir is of this task, where it is no run's.
        filled: names of flags that the task itself fills in where they are not given.
    """

    examples: tuple[str, ...]
    common: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    directory: str = ""
    filled: frozenset[str] = frozenset()


_IMAGES = ("data_dir", "dataset")
# By task. A task that has more flags than fit on a screen lists those here that --help shows.
HELP = {
    "train": Help(
        ("python run.py --mode=train_then_eval --data_dir=photos --model_dir=runs/photos",),
        {
            "Images": (*_IMAGES, "image_size"),
            "Training": ("mode", "train_mode", "checkpoint", "train_epochs", "train_batch_size", "learning_rate"),
            "Network and loss": ("resnet_depth", "temperature"),
            "Results and devices": ("model_dir", "eval_every_epochs", "precision"),
        },
    ),
    "distill": Help(
        ("python -m tf_simclr distill --teacher=runs/teacher --data_dir=photos --model_dir=runs/student",),
        {
            "Teacher and student": ("teacher", "checkpoint", "resnet_depth", "width_multiplier"),
            "Images": (*_IMAGES, "image_size"),
            "Training": ("distill_temperature", "distill_alpha", "train_epochs", "train_batch_size", "learning_rate"),
            "Results and devices": ("model_dir", "ema_decay", "precision"),
        },
    ),
    "recipe": Help(
        ("python -m tf_simclr recipe --recipe=simclr_v2_tiny --model_dir=runs/recipe",),
        {
            "The recipe": ("recipe", "model_dir"),
            "Every stage that trains (omitted: as the recipe says)": (
                *_IMAGES,
                *("image_size", "train_batch_size", "resnet_depth", "precision"),
            ),
        },
        directory="Directory of the stages; omitted: runs/RECIPE.",
        filled=frozenset({"image_size", "train_batch_size", "resnet_depth"}),
    ),
    "plan": Help(
        ("python -m tf_simclr plan --accelerator=h100 --budget_hours=24 --flagfile=configs/imagenet_resnet50.cfg",),
        {
            "The plan": ("accelerator", "budget_hours"),
            "The run": (*_IMAGES, "image_size", "train_epochs", "train_batch_size", "micro_batch_size"),
            "Network": ("resnet_depth", "width_multiplier", "precision"),
        },
    ),
    "compare": Help(("python -m tf_simclr compare runs/a runs/b",)),
    "evaluate": Help(
        ("python -m tf_simclr evaluate --checkpoint=runs/photos --protocols=knn,linear_cached",),
        {
            "What is evaluated, and how": ("checkpoint", "protocols", "endpoints", "metric", "eval_seeds"),
            "Images": (*_IMAGES, "train_split", "eval_split", "labels"),
            "Results and devices": ("model_dir", "precision"),
        },
        directory="Directory of the report; omitted: a new one in the directory of the run, named after the images.",
    ),
    "study": Help(
        ("python -m tf_simclr study --study=table4 --scale=tiny",),
        {
            "The study": ("study", "scale", "cells", "seeds", "report"),
            "Images": (*_IMAGES, "image_size"),
            "Training of every cell (omitted: as --scale says)": ("train_epochs", "train_batch_size"),
            "Results and devices": ("model_dir", "precision"),
        },
        directory="Directory of the study; omitted: runs/STUDY-SCALE-DATASET.",
        filled=frozenset({"image_size", "train_epochs", "train_batch_size"}),
    ),
    "prepare": Help(("python -m tf_simclr prepare --data_dir=photos --out=photos_256 --side=256",)),
    "views": Help(
        ("python -m tf_simclr views --data_dir=photos --out=views.png --min_crop_area=0.3",),
        {
            "Images": (*_IMAGES, "image_size"),
            "What is drawn": ("out", "images", "views", "seed"),
            "Augmentation": ("augmentation", "min_crop_area", "color_jitter_strength", "use_blur"),
        },
    ),
    "convert": Help(
        (
            "python -m tf_simclr convert --checkpoint=resnet50.pth --output=runs/resnet50",
            "python -m tf_simclr convert --checkpoint=runs/photos --to=onnx --output=photos_onnx",
        ),
    ),
    "embed": Help(
        ("python -m tf_simclr embed --checkpoint=runs/photos --data_dir=photos --out=photo_index",),
        {
            "Network and images": ("checkpoint", *_IMAGES, "labels", "on_bad_image"),
            "The index": ("out", "endpoint", "index_type", "embed_split", "parquet"),
            "Speed": ("eval_batch_size", "strategy", "runner"),
        },
    ),
    "predict": Help(
        ("python -m tf_simclr predict --checkpoint=runs/photos --data_dir=new_photos --csv=classes.csv",),
        {
            "Network and images": ("checkpoint", *_IMAGES, "predict_split", "on_bad_image"),
            "Predictions": ("csv", "top"),
            "Speed": ("eval_batch_size", "strategy"),
        },
    ),
    "search": Help(("python -m tf_simclr search --index=photo_index --query=photo.jpg --page=similar.html",)),
    "browse": Help(("python -m tf_simclr browse --index=photo_index",)),
    "duplicates": Help(("python -m tf_simclr duplicates --index=photo_index --page=copies.html",)),
    "outliers": Help(("python -m tf_simclr outliers --index=photo_index --page=outliers.html",)),
    "cluster": Help(("python -m tf_simclr cluster --index=photo_index --clusters=20 --page=clusters.html",)),
    "select": Help(("python -m tf_simclr select --index=photo_index --n=200 --page=to_label.html",)),
    "label_errors": Help(("python -m tf_simclr label_errors --index=photo_index --page=labels.html",)),
    "projector": Help(("python -m tf_simclr projector --index=photo_index --out=projector",)),
    "input_worker": Help(("python -m tf_simclr input_worker --port=5050",)),
}


def help_text(task: str, usage: str, groups: Sequence[Group], *, full: bool) -> str:
    """What --help, or --helpfull, prints.

    Args:
        task: its name, for `HELP`.
        usage: of the task: a line that says how it is called, a blank line, and paragraphs on what it does.
        groups: all flags of the task.
        full: whether every flag is shown, with the whole of its text.
    """
    width = _width()
    shown = HELP.get(task, Help(()))
    entries = {field.name: _Entry.of(field, kind) for group in groups for field, kind in _fields(group)}
    sections = {group.title: tuple(field.name for field in group.fields) for group in groups}
    if shown.directory:
        entries["model_dir"] = replace(entries["model_dir"], text=shown.directory)
    entries |= {name: replace(entries[name], default="") for name in shown.filled}
    entries["flagfile"] = _Entry("--flagfile=PATH", FLAGFILE_HELP)
    entries |= {name: _Entry(f"--{name}=TEXT", IGNORED_HELP) for name in IGNORED_FLAGS}
    sections |= {"Flag files": ("flagfile",), "Ignored": IGNORED_FLAGS}
    everything = sum(len(names) for names in sections.values())
    if not full:
        sections = dict(shown.common) or {group.title: sections[group.title] for group in groups}
    lines = list(_heading(usage, shown.examples, width))
    for title, names in sections.items():
        lines += ["", *textwrap.wrap(f"{title}:", width)]
        for name in names:
            lines += entries[name].lines(width, full=full)
    if not full:
        lines += ["", f"--helpfull shows all {everything} flags, with the full text of each."]
    return "\n".join(lines)


def task_list(purposes: Mapping[str, str]) -> str:
    """What `python -m tf_simclr` prints without a task: each task by name, with what it does."""
    lines = ["usage: python -m tf_simclr TASK [flags]", "", "Tasks (TASK --help shows the flags of one):"]
    for name, purpose in purposes.items():
        lines += textwrap.wrap(purpose, _width(), initial_indent=f"  {name:14}", subsequent_indent=" " * 16)
    return "\n".join(lines)


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def _heading(usage: str, examples: Sequence[str], width: int) -> Iterator[str]:
    first, *paragraphs = usage.split("\n\n")
    # What stands in brackets stays together: textwrap does not break at this blank.
    kept = re.sub(r"\[[^]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), first)
    lines = textwrap.wrap(kept, width, subsequent_indent=" " * 7, break_on_hyphens=False)
    yield from (line.replace("\N{NO-BREAK SPACE}", " ") for line in lines)
    for paragraph in paragraphs:
        yield ""
        yield from textwrap.wrap(paragraph, width, break_on_hyphens=False)
    if examples:
        yield ""
        yield "Example:" if len(examples) == 1 else "Examples:"
    for example in examples:
        yield from _command(example, width)


def _command(command: str, width: int) -> list[str]:
    """A command that stays one for a shell when its lines are pasted."""
    lines = textwrap.wrap(command, width - 2, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _fields(group: Group) -> Iterator[tuple[dataclasses.Field[Any], type]]:
    hints = typing.get_type_hints(group.config)
    for one in group.fields:
        kinds = set(typing.get_args(hints[one.name])) - {type(None)} or {hints[one.name]}
        yield one, kinds.pop()


@dataclass(frozen=True)
class _Entry:
    """A flag: how it is written, what it does, and its default as text, "" without one."""

    written: str
    text: str
    default: str = ""

    @classmethod
    def of(cls, field: dataclasses.Field[Any], kind: type) -> _Entry:
        """Of a field of a config dataclass and the type of its values."""
        words: dict[type, str] = {int: "N", float: "NUMBER", str: "PATH" if field.metadata["path"] else "TEXT"}
        if kind is bool:
            written = f"--[no]{field.name}"
        else:
            choices = field.metadata["choices"]
            written = f"--{field.name}={'|'.join(map(str, choices)) if choices else words[kind]}"
        default = f"{field.default:g}" if kind is float and field.default is not None else str(field.default)
        return cls(written, field.metadata["help"], "" if field.default in (None, "") else default)

    def lines(self, width: int, *, full: bool) -> list[str]:
        """In two columns: with the first sentence of its text, or all of it."""
        text = self.text if full else _SENTENCE.split(self.text)[0]
        text += f" (default: {self.default})" if self.default else ""
        described = textwrap.wrap(text, width - _COLUMN, break_on_hyphens=False)
        # Two blanks must be left between the columns.
        if len(self.written) + 4 > _COLUMN:
            return [f"  {self.written}", *(" " * _COLUMN + line for line in described)]
        first, *rest = described
        return [f"{f'  {self.written}':{_COLUMN}}{first}", *(" " * _COLUMN + line for line in rest)]
