"""What a command line leaves out: flags from the quickstart or from a run's own directory, and the directory."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from typing import Any

from tf_simclr.cli import flags
from tf_simclr.config import (
    FLAGS_FILE,
    FOLDER,
    DataConfig,
    ExperimentConfig,
    build_config,
    may_lie_elsewhere,
    of_recorded,
    with_warmup_that_ends,
)
from tf_simclr.config.experiment import parts
from tf_simclr.config.identity import DEVICE_FLAGS
from tf_simclr.config.own_images import (
    DECIDING_FLAGS,
    FINE_TUNING_FLAGS,
    LENGTH_FLAGS,
    TRAINING_FLAGS,
    fine_tuning_defaults,
    has_plain_flags,
    own_images_defaults,
    with_length,
)
from tf_simclr.config.paths import absolute
from tf_simclr.errors import InputError
from tf_simclr.escape import as_command, as_flag
from tf_simclr.files import read_json
from tf_simclr.stored import DamagedFileError, require_types

ALL_FLAG_GROUPS = tuple(flags.Group(type(field.default)) for field in dataclasses.fields(ExperimentConfig))
QUICKSTART = flags.CONFIGS / "quickstart.cfg"
ONLY_DATA_DIR = "--data_dir without --dataset: the images of that folder (--dataset=folder)"
_KIND = {"finetune": "fine-tuning", "distill": "distilling"}
_AS_BEGUN = ("hold_out_by", "online_head")
# The second of each pair, where it is above 0, overrides the first: it must not come from elsewhere then.
# Below it a folder is too small to choose a batch for.
_SMALL_BATCH = 16
_OVERRIDES = (("train_epochs", "train_steps"), ("checkpoint_epochs", "checkpoint_steps"))


def complete(parsed: flags.ParsedFlags) -> tuple[flags.ParsedFlags, str]:
    """Fills in the flags that were not given; says where they come from.

    They come from the run in --model_dir for --mode=eval and without --dataset, otherwise without --dataset from the
    quickstart; --data_dir without --dataset means a folder of images, unless the run's own data may lie there.

    With --dataset, too, a run goes on with what it began with where an earlier version had another default: with
    another draw of its hold-out it would train on what it had held out.

    Raises:
        InputError: the flags of the run are damaged, or the quickstart file is not in the package.
    """
    dataset, evaluating = parsed.values["dataset"], parsed.values["mode"] == "eval"
    # A directory that is kept aside says nothing of the run that takes its place, where that one says what it is.
    anew = parsed.values["overwrite"] and bool(dataset)
    recorded = None if anew else recorded_run(parsed.values["model_dir"])
    if recorded is not None and not dataset:
        place, values = recorded
        if _means_a_folder(parsed.values["data_dir"], values.get("dataset", "")):
            if not evaluating:  # another run than the one there
                return _with_values(parsed, dataset=FOLDER), ONLY_DATA_DIR
            recorded = place, values | {"dataset": FOLDER}
    if recorded is not None and (evaluating or not dataset):
        place, values = recorded
        reason = "" if dataset else "no --dataset given: "
        return _fill(parsed, values), f"{reason}flags not given come from {place}"
    if dataset:
        own = {} if recorded is None else {name: recorded[1][name] for name in _AS_BEGUN}
        return flags.fill_from_values(parsed, own), f"dataset {dataset}"
    if parsed.values["data_dir"]:
        return _with_values(parsed, dataset=FOLDER), ONLY_DATA_DIR
    if not QUICKSTART.is_file():
        raise InputError(
            f"`dataset` is empty and {QUICKSTART} is not there to supply one. Received: no --dataset. Pass "
            "--dataset=shapes, or another, with its flags"
        )
    quickstart = flags.parse([f"--flagfile={QUICKSTART}"], ALL_FLAG_GROUPS)
    values = {name: quickstart.values[name] for name in quickstart.given if name in quickstart.values}
    return _fill(parsed, values), "no --dataset given: flags not given come from configs/quickstart.cfg"


def recorded_run(model_dir: str | None) -> tuple[str, dict[str, Any]] | None:
    """The flags.json of a run and its values, without those of one command or machine; None where there is none."""
    if not model_dir:
        return None
    place = os.path.join(model_dir, FLAGS_FILE)
    try:
        read = read_json(place)
        if read is None:
            return None
        values = of_recorded(read)
        for part in parts(ExperimentConfig()):
            require_types(values, type(part), place)
    except DamagedFileError as error:
        raise InputError(f"{error} with --dataset and the other flags of the run") from error
    keep_own = ("mode", "model_dir", "overwrite", *DEVICE_FLAGS)
    return place, {name: value for name, value in values.items() if name not in keep_own}


def _fill(parsed: flags.ParsedFlags, values: dict[str, Any]) -> flags.ParsedFlags:
    overridden = {second for first, second in _OVERRIDES if first in parsed.given}
    return flags.fill_from_values(parsed, {k: v for k, v in values.items() if k not in overridden})


def _with_values(parsed: flags.ParsedFlags, **values: Any) -> flags.ParsedFlags:
    return dataclasses.replace(parsed, values=parsed.values | values)


def with_other_folder(parsed: flags.ParsedFlags, origin: DataConfig) -> flags.ParsedFlags:
    """For an evaluation: --data_dir without --dataset means that folder, unless it is where the run's own images lie.

    Args:
        parsed: the command.
        origin: the data of the checkpoint's run.
    """
    data_dir = parsed.values["data_dir"]
    if parsed.values["dataset"] or not data_dir:
        return parsed
    other_place = origin.dataset == FOLDER and absolute(data_dir) != absolute(origin.data_dir)
    return _with_values(parsed, dataset=FOLDER) if other_place or _means_a_folder(data_dir, origin.dataset) else parsed


def _means_a_folder(data_dir: str | None, dataset: str) -> bool:
    """Whether --data_dir alone names a folder of images other than the data of a run, which is not a folder's.

    A data set that TensorFlow Datasets prepared lies in a folder of its own name.
    """
    if not data_dir or dataset == FOLDER:
        return False
    return not may_lie_elsewhere(dataset) or not os.path.isdir(os.path.join(data_dir, re.split("[/:]", dataset)[0]))


def complete_by_images(
    config: ExperimentConfig,
    given: frozenset[str],
    num_examples: int,
    run: ExperimentConfig | None,
) -> tuple[ExperimentConfig, list[str]]:
    """Fills in what depends on the number of images, where it was not given; says what.

    Args:
        config: of the command.
        given: names of the flags that were given.
        num_examples: images in the training split.
        run: what the run in the directory was started with; None for a new one.

    Returns:
        the config, and lines that a person should see.
    """
    config, lines = _for_own_images(config, given, num_examples, run)
    config, tuning = _for_fine_tuning(config, given, num_examples, run)
    config, more = _with_warmup(config, given, num_examples, run)
    return config, lines + tuning + more


def _for_own_images(
    config: ExperimentConfig, given: frozenset[str], num_examples: int, run: ExperimentConfig | None
) -> tuple[ExperimentConfig, list[str]]:
    """The settings for a folder of this many images where no training flag says otherwise.

    A run goes on with those that it recorded: it may have other images by now, for which other settings would be
    chosen.
    """
    if config.data.dataset != FOLDER:
        return config, []
    if given & DECIDING_FLAGS or not has_plain_flags(config, DECIDING_FLAGS):
        return config, _note_of_defaults(config, given) if run is None else []
    values, lengths = config.to_flags(), given & LENGTH_FLAGS
    if run is not None and (config.runtime.mode == "eval" or run.data.dataset == FOLDER):
        recorded, kept = run.to_flags(), TRAINING_FLAGS - given
        if "train_epochs" in given:  # steps that were recorded would override them
            kept -= {"train_steps"}
        return build_config(values | {name: recorded[name] for name in kept}), []
    settings = own_images_defaults(num_examples)
    if lengths:
        settings = with_length(settings, {name: values[name] for name in lengths}, num_examples)
    own = {name: values[name] for name in sorted(given & set(values) - {"model_dir", "overwrite"})}
    words = own | {"dataset": FOLDER, "model_dir": config.runtime.model_dir} | settings
    command = as_command(["python", "run.py", *(as_flag(name, value) for name, value in words.items())])
    what = "no training flag but a length given" if lengths else "no training flag given"
    lines = [f"{what}: settings for a folder of {num_examples} images, as in: {command}"]
    if settings["train_batch_size"] < _SMALL_BATCH:
        lines.append(
            f"{num_examples} images are few: each view is compared with {2 * settings['train_batch_size'] - 1} others "
            "only. Add images, or search with a network that exists: python -m tf_simclr embed --checkpoint=NETWORK"
        )
    return build_config(values | settings), lines


def _note_of_defaults(config: ExperimentConfig, given: frozenset[str]) -> list[str]:
    """What a person should see whose training flag switched the settings for a folder off, and who named no network."""
    deciding = sorted(given & DECIDING_FLAGS)
    if config.train.train_mode != "pretrain" or not deciding or given & {"resnet_depth", "image_size"}:
        return []
    return [
        f"--{deciding[0]} was given, so no settings are chosen for this folder: "
        f"ResNet-{config.model.resnet_depth} at {config.data.image_size} px and the other defaults. "
        "For a small network pass --flagfile=configs/own_images.cfg before your flags"
    ]


def _for_fine_tuning(
    config: ExperimentConfig, given: frozenset[str], num_examples: int, run: ExperimentConfig | None
) -> tuple[ExperimentConfig, list[str]]:
    """The settings for fine-tuning or distilling on a folder of this many images, where none of them was given.

    The defaults are those of pretraining, whose batch is larger than many folders.
    """
    mode, trains = config.train.train_mode, config.train.trains_classifier
    begins_with_weights = bool(config.train.checkpoint) or mode == "distill"
    tunes = trains and begins_with_weights and config.data.dataset == FOLDER
    if not tunes or given & FINE_TUNING_FLAGS or not has_plain_flags(config, FINE_TUNING_FLAGS):
        return config, []
    settings = fine_tuning_defaults(num_examples) if run is None else run.to_flags()
    names = set(FINE_TUNING_FLAGS)
    if not given & {"train_epochs", "train_steps"}:
        names.add("train_epochs")
    chosen = {name: settings[name] for name in sorted(names) if name in settings}
    words = " ".join(as_flag(name, value) for name, value in chosen.items())
    line = f"no optimizer, rate or batch given: settings for {_KIND[mode]} on {num_examples} images: {words}"
    return build_config(config.to_flags() | chosen), [] if run is not None else [line]


def _with_warmup(
    config: ExperimentConfig, given: frozenset[str], num_examples: int, run: ExperimentConfig | None
) -> tuple[ExperimentConfig, list[str]]:
    """A warm-up that ends, where its length was not given."""
    if "warmup_epochs" in given:
        return config, []
    if run is not None:  # as it began, whatever the number of images makes of it now
        optimizer = dataclasses.replace(config.optimizer, warmup_epochs=run.optimizer.warmup_epochs)
        return dataclasses.replace(config, optimizer=optimizer), []
    shorter = with_warmup_that_ends(config, num_examples)
    if shorter == config:
        return config, []
    was, now = config.optimizer.warmup_epochs, shorter.optimizer.warmup_epochs
    return shorter, [
        f"a warm-up of {was:g} epochs would outlast training: it is shortened to a tenth of the steps, "
        f"--warmup_epochs={now!r}; pass --warmup_epochs to choose another"
    ]


def with_model_dir(config: ExperimentConfig, *, shared: bool = False) -> ExperimentConfig:
    """The config with a model_dir: the given one, or a new one named after data and time.

    Args:
        config: as given.
        shared: whether several workers must have the same one.

    Raises:
        InputError: --mode=eval, or several workers, without one.
    """
    if config.runtime.model_dir:
        return config
    if shared:
        raise InputError(
            "`model_dir` must name one directory that all workers share. Received: none. Pass the same "
            "--model_dir=DIR to each"
        )
    if config.runtime.mode == "eval":
        raise InputError(
            "`model_dir` must name the run to evaluate with --mode=eval. Received: none. Pass --model_dir=DIR"
        )
    name = f"{config.data.dataset.replace('/', '_').replace(':', '_')}-{time.strftime('%Y%m%d-%H%M%S')}"
    runtime = dataclasses.replace(config.runtime, model_dir=os.path.join("runs", name))
    return dataclasses.replace(config, runtime=runtime)
