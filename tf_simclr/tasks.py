"""The tasks of the command line as functions: the same flags, by name, and results in place of an exit code."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tf_simclr.errors import InputError, require_choice

if TYPE_CHECKING:
    from tf_simclr.cli.convert import ConvertResult
    from tf_simclr.cli.embed import EmbedResult
    from tf_simclr.cli.evaluate import EvaluationResult
    from tf_simclr.cli.index_results import IndexResult
    from tf_simclr.cli.prepare import PrepareResult
    from tf_simclr.cli.run_results import RunResult
    from tf_simclr.cli.study import StudyResult

INDEX_TASKS = ("duplicates", "outliers", "cluster", "select", "label_errors")


def run(**flags: Any) -> RunResult:
    """Pretrains, fine-tunes or evaluates a network, as `python run.py` does.

    It runs in this process. Ctrl-C (in a notebook, stopping the cell) saves a checkpoint and returns. The same call
    goes on from there. Lines and progress go to standard output.

    Args:
        **flags: the flags of run.py by name, with Python values: `train_steps=100`, `use_blur=False`. `flagfile` names
            a recipe. Flags that are not given come from where `run.py` takes them: without `dataset`, from the run in
            `model_dir` or from the quickstart.

    Returns:
        where the run lies, its last step, and the accuracies of result.json.

    Raises:
        InputError: an unknown flag, values that cannot work together, or data that cannot be read. Nothing is written
            then.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 18, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]", "eval_split": "test[:16]", "eval_batch_size": 16}
        steps = {"train_steps": 2, "warmup_epochs": 0}
        result = tf_simclr.run(mode="train_then_eval", use_blur=False, model_dir="runs/tiny", **tiny, **data, **steps)
        print(result.step, result.metrics["eval/label_top_1_accuracy"])
    """
    result: RunResult = _call("train", flags)
    return result


def distill(**flags: Any) -> RunResult:
    """Trains a student by the outputs of a teacher, as `python -m tf_simclr distill` does.

    Args:
        **flags: as for `run`. `teacher` is a checkpoint with a supervised head.

    Returns:
        as `run`.

    Raises:
        InputError: as `run`, or a teacher without a supervised head or of other classes than the images.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]", "train_steps": 1, "warmup_epochs": 0}
        teacher = tf_simclr.run(train_mode="finetune", model_dir="runs/teacher", **tiny, **data)
        student = tf_simclr.distill(teacher=teacher.directory, model_dir="runs/student", **tiny, **data)
        assert student.finished
    """
    result: RunResult = _call("distill", flags)
    return result


def evaluate_checkpoint(**flags: Any) -> EvaluationResult:
    """Evaluates a representation by the protocols of the field, as `python -m tf_simclr evaluate` does.

    Args:
        **flags: the flags of the command by name, with Python values; lists for those that take several.
            `checkpoint` is a run's directory, a checkpoint, or an exported SavedModel.

    Returns:
        where the report lies, and what report.json holds.

    Raises:
        InputError: an unknown flag, values that cannot work together, or a checkpoint that cannot be read.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 18, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]", "eval_split": "test[:16]"}
        run = tf_simclr.run(train_steps=1, warmup_epochs=0, use_blur=False, model_dir="runs/tiny", **tiny, **data)
        found = tf_simclr.evaluate_checkpoint(checkpoint=run.directory, protocols="knn", knn_k=[1, 5])
        for row in found.report["rows"]:
            print(row["protocol"], row["setting"], row["metrics"]["top_1"]["mean"])
    """
    result: EvaluationResult = _call("evaluate", flags)
    return result


def run_study(**flags: Any) -> StudyResult:
    """Repeats a table or figure of the paper, as `python -m tf_simclr study` does.

    Args:
        **flags: the flags of the command by name, with Python values; lists for those that take several.

    Returns:
        where the pages lie, the measures of every cell, and which of the paper's findings hold.

    Raises:
        InputError: an unknown flag, values that cannot work together, or a flag that the study itself varies.

    Example:
        import tf_simclr

        found = tf_simclr.run_study(
            study="figure6", scale="tiny", train_split="train[:32]", eval_split="test[:16]", model_dir="runs/figure6"
        )
        for finding in found.findings:
            print(finding.outcome, finding.statement)
    """
    result: StudyResult = _call("study", flags)
    return result


def convert(**flags: Any) -> ConvertResult:
    """Converts weights of other programs into a run's directory, and runs into files of other programs.

    It does what `python -m tf_simclr convert` does.

    Args:
        **flags: the flags of the command by name, with Python values. `checkpoint` is what is converted, `output` the
            directory to write, which must be new. `to` is run (the default), saved_model, keras, onnx, tflite, torch,
            huggingface or kaggle.

    Returns:
        the directory, and in lines what was assumed, left out, measured, and what its reader must know.

    Raises:
        InputError: an unknown flag, values that cannot work together, weights that cannot be read or have no place in
            the format, or a package that is missing. Nothing is written then.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 18, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]", "eval_split": "test[:16]"}
        run = tf_simclr.run(train_steps=1, warmup_epochs=0, use_blur=False, model_dir="runs/tiny", **tiny, **data)
        export = tf_simclr.convert(checkpoint=run.directory, to="keras", output="exports/keras")
        print(export.directory, *export.lines)
    """
    result: ConvertResult = _call("convert", flags)
    return result


def prepare(**flags: Any) -> PrepareResult:
    """Writes the images of a folder into a few large files, as `python -m tf_simclr prepare` does.

    Args:
        **flags: the flags of the command by name, with Python values. `data_dir` is the folder, `out` the directory to
            write, `side` the largest shorter side of an image.

    Returns:
        the directory, how many images it has and how many of them were reduced, and those that were left out.

    Raises:
        InputError: an unknown flag, an image that cannot be decoded, or a directory that exists. Nothing is written
            then.

    Example:
        import os, tempfile

        import numpy as np
        import tensorflow as tf
        import tf_simclr

        folder = tempfile.mkdtemp()
        for number in range(4):
            pixels = np.full([40, 60, 3], 60 * number, np.uint8)
            tf.io.write_file(os.path.join(folder, f"{number}.png"), tf.io.encode_png(pixels))
        found = tf_simclr.prepare(data_dir=folder, out="prepared", side=32)
        print(found.images, found.reduced)
    """
    result: PrepareResult = _call("prepare", flags)
    return result


def embed(**flags: Any) -> EmbedResult:
    """Stores the features of images in an index, or brings it up to date, as `python -m tf_simclr embed` does.

    Args:
        **flags: the flags of the command by name, with Python values. `checkpoint` makes the features, `out` is the
            directory of the index, and `data_dir` the folder of images.

    Returns:
        the directory of the index, how many images it has, and how many were computed now.

    Raises:
        InputError: an unknown flag, values that cannot work together, or images that cannot be read.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]"}
        run = tf_simclr.run(train_steps=1, warmup_epochs=0, use_blur=False, **tiny, **data)
        found = tf_simclr.embed(checkpoint=run.directory, out="index")
        assert found.rows == 32
    """
    result: EmbedResult = _call("embed", flags)
    return result


def search(**flags: Any) -> IndexResult:
    """Finds the images of an index that are most similar to a query, as `python -m tf_simclr search` does.

    Args:
        **flags: the flags of the command by name, with Python values. `index` is a directory that `embed` wrote.
            `query` is an image file, a folder of them, or the path or number of a row.

    Returns:
        the table of results: its headings and its lines.

    Raises:
        InputError: an unknown flag, no such index or query, or another network than that of the index.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]"}
        run = tf_simclr.run(train_steps=1, warmup_epochs=0, use_blur=False, **tiny, **data)
        tf_simclr.embed(checkpoint=run.directory, out="index")
        found = tf_simclr.search(index="index", query=5, k=3)
        for query, rank, row, path, label, similarity in found.lines:
            print(rank, path, label, similarity)
    """
    result: IndexResult = _call("search", flags)
    return result


def explore(task: str, **flags: Any) -> IndexResult:
    """Does one of the other tasks on an index, as `python -m tf_simclr TASK` does.

    Args:
        task: "duplicates", "outliers", "cluster", "select" or "label_errors".
        **flags: the flags of the command by name, with Python values. `index` is a directory that `embed` wrote.

    Returns:
        the table of results: its headings and its lines, and the file that it was written to.

    Raises:
        InputError: an unknown task or flag, or no such index.

    Example:
        import tf_simclr

        tiny = {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 16, "train_batch_size": 16}
        data = {"dataset": "shapes", "train_split": "train[:32]"}
        run = tf_simclr.run(train_steps=1, warmup_epochs=0, use_blur=False, **tiny, **data)
        tf_simclr.embed(checkpoint=run.directory, out="index")
        for rank, row, path, label, distance in tf_simclr.explore("outliers", index="index").lines[:3]:
            print(path, distance)
    """
    require_choice("task", task, INDEX_TASKS)
    result: IndexResult = _call(task, flags)
    return result


def _call(task_name: str, flags: dict[str, Any]) -> Any:
    from tf_simclr.cli.flags import parse
    from tf_simclr.cli.main import TASKS

    task = importlib.import_module(TASKS[task_name])
    words = [f"--{name}={_text(name, value)}" for name, value in flags.items() if value is not None]
    return task.main(parse(words, task.FLAG_GROUPS))


def _text(name: str, value: Any) -> str:
    """A Python value as the text of a flag.

    Raises:
        InputError: a value that no flag takes.
    """
    if isinstance(value, (bool, int, float, str)):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, dict)):
        return ",".join(_text(name, item) for item in value)
    raise InputError(
        f"`{name}` must be a number, a text, a path or a list of them. Received: {name}={value!r} of type "
        f"{type(value).__name__}"
    )
