"""Writes docs/flags.md, the reference of all flags of run.py and of the other tasks, from the config's fields.

python -m tools.flag_reference          writes the file
python -m tools.flag_reference --check  only says whether it is up to date (exit code 1 when it is not)
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_simclr.cli import (
    browse_flags,
    budget_flags,
    checkpoint_images,
    cluster_flags,
    compare_flags,
    convert_flags,
    duplicates_flags,
    embed_flags,
    evaluate_flags,
    index_results,
    input_worker_flags,
    label_errors_flags,
    outliers_flags,
    predict_flags,
    prepare_flags,
    projector_flags,
    recipe_flags,
    search_flags,
    select_flags,
    study_flags,
    views_flags,
)
from tf_simclr.cli.completion import ALL_FLAG_GROUPS
from tf_simclr.cli.flags import IGNORED_FLAGS, Group
from tools.generated_page import write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "flags.md"
COMMAND = "python -m tools.flag_reference"

# The flags that tf2/run.py of the authors' repository (github.com/google-research/simclr) defines.
_AUTHORS = """
batch_norm_decay cache_dataset checkpoint checkpoint_epochs checkpoint_steps color_jitter_strength data_dir dataset
eval_batch_size eval_name eval_split eval_steps fine_tune_after_block ft_proj_selector gcp_project global_bn
hidden_norm image_size keep_checkpoint_max keep_hub_module_max learning_rate learning_rate_scaling
lineareval_while_pretraining master mode model_dir momentum num_proj_layers optimizer proj_head_mode proj_out_dim
resnet_depth se_ratio sk_ratio temperature tpu_name tpu_zone train_batch_size train_epochs train_mode train_split
train_steps use_blur use_tpu warmup_epochs weight_decay width_multiplier zero_init_logits_layer
"""
AUTHORS_FLAGS = frozenset(_AUTHORS.split())
# Where a default of ours is not theirs.
AUTHORS_DEFAULTS = {"dataset": "imagenet2012", "use_tpu": "True"}

# The tasks on an index, and the flags that each has for itself.
INDEX_TASKS = {
    "search": search_flags.SEARCH,
    "duplicates": duplicates_flags.DUPLICATES,
    "outliers": outliers_flags.NEIGHBOURS,
    "cluster": cluster_flags.CLUSTERS,
    "select": select_flags.SELECT,
    "label_errors": label_errors_flags.NEIGHBOURS,
    "projector": projector_flags.PROJECTOR,
}

INTRODUCTION = f"""# Flags

Every flag of `run.py`, by concern, then those of `python -m tf_simclr evaluate` and of the other tasks. This page is
made from the config by `{COMMAND}`; do not edit it.

- Flags are written with `=`, as `--seed=3`. A switch is also written `--use_blur` (True) and `--nouse_blur` (False).
- `--flagfile=FILE` inserts the flags of a file, one a line; the later of two values counts. `--help`
  shows the flags that are used most, `--helpfull` all of them.
- Without `--dataset`, and with `--mode=eval`, flags that are not given come from `flags.json` in `--model_dir` when a
  run was started there. Otherwise `--data_dir` alone means `--dataset=folder`, and without either they come from
  [configs/quickstart.cfg](../tf_simclr/configs/quickstart.cfg).
- `~` at the beginning of a path is expanded.
- An unknown flag, or a value that cannot work, ends the program with exit code 2 and one line that says what to do.
- "From" says whose flag it is: the authors' `tf2/run.py` has a flag of that name, or it is ours. Where our default is
  another than theirs, theirs stands in brackets.
"""


def described_type(kind: Any, choices: Sequence[Any] | None, bounds: Mapping[str, float]) -> str:
    """A field's type for a reader: its choices, or switch, integer, number, text; a number with its range."""
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    plain = (set(typing.get_args(kind)) - {type(None)} or {kind}).pop()
    signs = {"above": ">", "at_least": "≥", "at_most": "≤"}
    # The largest seed is a number of machines; it would say nothing here.
    shown = [f"{signs[name]} {bound:g}" for name, bound in bounds.items() if bound < 1e9]
    return ", ".join([{bool: "switch", int: "integer", float: "number", str: "text"}[plain], *shown])


def described_default(name: str, default: Any) -> str:
    """A default as it is written on the command line; the authors' one in brackets where it differs."""
    shown = "none" if default is None else "empty" if default == "" else f"`{default}`"
    return f"{shown} (`{AUTHORS_DEFAULTS[name]}`)" if name in AUTHORS_DEFAULTS else shown


def table_row(cells: Sequence[str]) -> str:
    """One row of a Markdown table; a bar inside a cell would end it."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def section(group: Group) -> Iterator[str]:
    """Heading and table of one config dataclass."""
    kinds = typing.get_type_hints(group.config)
    yield f"\n## {group.title}\n"
    yield table_row(["flag", "value", "default", "from", "meaning"])
    yield table_row(["---"] * 5)
    for field in group.fields:
        yield table_row(
            [
                f"`--{field.name}`",
                described_type(kinds[field.name], field.metadata["choices"], field.metadata["bounds"]),
                described_default(field.name, field.default),
                "authors" if field.name in AUTHORS_FLAGS else "ours",
                field.metadata["help"],
            ]
        )


def _without(*groups: Group) -> str:
    return ", ".join(f"`--{name}`" for group in groups for name in sorted(group.without))


def reference() -> str:
    """The whole page."""
    ignored = " and ".join(f"`--{name}`" for name in IGNORED_FLAGS)
    lines = [INTRODUCTION.rstrip()]
    for group in ALL_FLAG_GROUPS:
        lines += section(group)
    lines += section(evaluate_flags.PROTOCOLS)
    lines.append(
        "\nBeside these, `python -m tf_simclr evaluate` takes the flags above of data, and of devices, directory and "
        f"precision, but not {_without(evaluate_flags.DATA, evaluate_flags.RUNTIME)}. What is not given of the images "
        "comes from the checkpoint's run."
    )
    lines += section(compare_flags.COMPARISON)
    lines.append(
        "\nThese are the flags of `python -m tf_simclr compare`, which takes `--run_a` and `--run_b` as words, too."
    )
    lines += section(study_flags.STUDY)
    lines.append(
        "\nBeside these, `python -m tf_simclr study` takes the flags of `run.py`, for all cells of the study, but not "
        f"{_without(*study_flags.TRAINING)}, nor those that the study varies."
    )
    lines += section(recipe_flags.RECIPE)
    lines.append(
        "\nBeside these, `python -m tf_simclr recipe` takes the flags of `run.py`, for all stages that train, but not "
        f"{', '.join(f'`--{name}`' for name in recipe_flags.OF_STAGES)}. `python -m tf_simclr distill` takes all flags "
        "of `run.py`."
    )
    lines += section(budget_flags.BUDGET)
    lines.append(
        "\nBeside these, `python -m tf_simclr plan` takes the flags of `run.py`, but not "
        f"{_without(*budget_flags.RUN)}."
    )
    lines += section(convert_flags.CONVERSION)
    lines.append("\nThese are the flags of `python -m tf_simclr convert`.")
    lines += section(views_flags.VIEWS)
    lines.append(
        "\nBeside these, `python -m tf_simclr views` takes the flags above of data and of augmentations, but not "
        f"{_without(views_flags.DATA)}."
    )
    lines += section(prepare_flags.PREPARE)
    of_images = ", ".join(f"`--{field.name}`" for field in prepare_flags.DATA.fields)
    lines.append(f"\nBeside these, `python -m tf_simclr prepare` takes the flags {of_images} above.")
    lines += section(embed_flags.EMBED)
    lines.append(
        "\nBeside these, `python -m tf_simclr embed` takes the flags above of data and of devices, but not "
        f"{_without(checkpoint_images.DATA, checkpoint_images.RUNTIME)}. What is not given of the images comes "
        "from the checkpoint's run."
    )
    lines += section(embed_flags.BEAM)
    lines.append("\nThese are flags of `python -m tf_simclr embed` and `prepare`.")
    lines += section(predict_flags.PREDICT)
    lines.append(
        "\nBeside these, `python -m tf_simclr predict` takes the flags of data and of devices that `embed` takes."
    )
    for group in (index_results.INDEX, index_results.RESULT):
        lines += section(group)
    lines.append(f"\nThese are flags of {', '.join(f'`{task}`' for task in INDEX_TASKS)}.")
    for task, group in INDEX_TASKS.items():
        lines += section(group)
        lines.append(f"\nThese are flags of `python -m tf_simclr {task}`.")
    lines += section(browse_flags.BROWSE)
    lines.append("\nThese, and `--index`, are the flags of `python -m tf_simclr browse`.")
    lines += section(input_worker_flags.WORKER)
    lines.append("\nThese are the flags of `python -m tf_simclr input_worker`.")
    lines += ["\n## Ignored\n", f"{ignored} stand in older recipes of the authors: accepted, said so, without effect."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or checks the page; returns the exit code."""
    purpose = (__doc__ or "").splitlines()[0]
    return write_or_check(PAGE, reference(), argv, purpose=purpose, made_of="the flags", command=COMMAND)


if __name__ == "__main__":
    sys.exit(main())
