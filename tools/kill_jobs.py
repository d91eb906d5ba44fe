"""Tasks for tools.random_kills: tiny commands, what they leave in their directory, and how two directories differ."""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
INTERVAL = 3
TINY = (
    "--dataset=shapes",
    "--train_split=train[:48]",
    "--eval_split=test[:22]",
    "--image_size=16",
    "--train_batch_size=16",
    "--eval_batch_size=8",
    "--resnet_depth=10",
    "--width_multiplier=0.0625",
    "--num_proj_layers=2",
    "--proj_out_dim=16",
    "--use_blur=False",
    "--warmup_epochs=0",
    "--learning_rate=0.5",
)
# What depends on the clock, the process or the machine, and not on the work.
_CLOCKED = {"date", "seconds", "command", "time"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([+-]\d\d:?\d\d|Z)?")
_DURATION = re.compile(r"\b(\d+ h )?(\d+ min )?\d+(\.\d+)? (s|min|h)\b")
_UNFINISHED = re.compile(r".*\.tmp|.*\.partial.*|.*_temp|.*\.removed|lock.*\.json|.*\.tempstate.*")


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        name: in the table.
        words: of the command, for a directory that it writes and the run that it reads.
        saved: how much a directory holds of the work: the newest whole checkpoint's step, or kept results.
        goes_on: finds in the output how much a start went on from.
        done: the step that the work had reached, as far as a directory says; None where nothing does.
    """

    name: str
    words: Callable[[pathlib.Path, pathlib.Path], list[str]]
    saved: Callable[[pathlib.Path], int]
    goes_on: re.Pattern[str]
    done: Callable[[pathlib.Path], int] | None = None


def newest_checkpoint(directory: pathlib.Path) -> int:
    """Step of the newest checkpoint of which every value can be read; 0 without one."""
    steps = sorted((int(path.stem.split("-")[1]) for path in directory.glob("ckpt-*.index")), reverse=True)
    return next((step for step in steps if _values(directory / f"ckpt-{step}") is not None), 0)


def newest_event(directory: pathlib.Path) -> int:
    """The last step of which a directory's event files have a training loss; 0 without one."""
    return max((step for tag, step in _events(directory) if tag == "train/total_loss"), default=0)


def kept_results(directory: pathlib.Path) -> int:
    """How many results of an evaluation or of a study are kept whole."""
    return sum(_json(path) is not None for path in directory.glob("cells/*.json"))


def jobs() -> dict[str, Job]:
    """Every job by its name."""
    python = [sys.executable, "-m", "tf_simclr"]
    train = [sys.executable, str(ROOT / "run.py"), *TINY, "--train_steps=24", f"--checkpoint_steps={INTERVAL}"]
    kept = re.compile(r"^(\d+) of \d+ results are kept", re.MULTILINE)
    never = re.compile(r"(?!)")
    evaluated = ["--protocols=knn,linear_cached,health", "--eval_seeds=0,1", "--knn_k=5,20", "--linear_epochs=3"]
    study = ["--study=figure5", "--cells=crop,color", "--scale=tiny", "--train_split=train[:48]"]
    found = [
        Job(
            "train",
            lambda out, run: [*train, "--mode=train_then_eval", f"--model_dir={out}"],
            newest_checkpoint,
            re.compile(r"^training from step (\d+)", re.MULTILINE),
            newest_event,
        ),
        Job(
            "evaluate",
            lambda out, run: [*python, "evaluate", f"--checkpoint={run}", *evaluated, f"--model_dir={out}"],
            kept_results,
            kept,
        ),
        Job(
            "study",
            lambda out, run: [*python, "study", *study, "--eval_split=test[:22]", f"--model_dir={out}"],
            kept_results,
            kept,
        ),
        Job(
            "convert",
            lambda out, run: [*python, "convert", f"--checkpoint={run}", "--to=saved_model", f"--output={out}"],
            lambda out: 0,
            never,
        ),
    ]
    return {job.name: job for job in found}


# ---- What a directory holds ----


def differences(want: pathlib.Path, got: pathlib.Path) -> list[str]:
    """How the directory of a command that was killed differs from that of one that was not; nothing where it does not.

    Values of checkpoints and exports are compared bit by bit, JSON and tables without times and dates, curves step by
    step, images by their bytes.
    """
    first, second = contents(want), contents(got)
    lines = [f"{name} is missing" for name in sorted(first.keys() - second.keys())]
    lines += [f"{name} is left over" for name in sorted(second.keys() - first.keys())]
    return lines + [f"{name} differs" for name in sorted(first.keys() & second.keys()) if first[name] != second[name]]


def contents(directory: pathlib.Path) -> dict[str, Any]:
    """Name -> what must be the same, of every file below a directory; of all event files together."""
    files = [path for path in directory.rglob("*") if path.is_file() and "tfevents" not in path.name]
    found = {str(path.relative_to(directory)): _content(path, directory) for path in files}
    return found | {f"curve {tag} at {step}": value for (tag, step), value in _events(directory).items()}


def unfinished(directory: pathlib.Path) -> list[str]:
    """Names of what no finished command may leave, in a directory and beside it."""
    around = [*directory.rglob("*"), *directory.parent.glob("*")]
    return sorted({str(path.relative_to(directory.parent)) for path in around if _UNFINISHED.fullmatch(path.name)})


def _content(path: pathlib.Path, directory: pathlib.Path) -> Any:
    if path.suffix == ".index":
        return _values(path.with_suffix(""))
    if re.search(r"\.data-\d+-of-\d+$", path.name):
        return "compared by its values"
    if path.suffix in (".pb", ".keras", ".npz"):  # names of functions, and the time within a zip file
        return path.stat().st_size > 0 if path.suffix != ".npz" else _arrays(path)
    if path.name.endswith(".checksums.json"):
        return "compared by what it is a sum of"
    if path.suffix == ".json":
        return _without_clock(_json(path), str(directory))
    if path.suffix in (".md", ".html", ".csv"):
        return _DURATION.sub("DURATION", _DATE.sub("DATE", path.read_text().replace(str(directory), "DIRECTORY")))
    return path.read_bytes()


def _values(prefix: pathlib.Path) -> dict[str, bytes] | None:
    """Name -> bytes of all values of a checkpoint; None where one cannot be read."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("_")]
        return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}
    except (tf.errors.OpError, IndexError, RuntimeError):
        return None


def _arrays(path: pathlib.Path) -> dict[str, bytes]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError:
        return None


def _without_clock(value: Any, directory: str) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_clock(v, directory) for k, v in value.items() if k not in _CLOCKED}
    if isinstance(value, list):
        return [_without_clock(part, directory) for part in value]
    return value.replace(directory, "DIRECTORY") if isinstance(value, str) else value


def _bytes_of(array: np.ndarray) -> bytes:
    """Of images too, whose array holds objects: their own bytes would be addresses."""
    return b"\0".join(array.ravel().tolist()) if array.dtype == object else array.tobytes()


def _events(directory: pathlib.Path) -> dict[tuple[str, int], frozenset[bytes]]:
    """(tag, step) -> every value that was written for it; a step that was done twice must have the same twice."""
    found: dict[tuple[str, int], set[bytes]] = {}
    for file in directory.glob("events*"):
        try:
            for event in tf.compat.v1.train.summary_iterator(str(file)):
                for value in event.summary.value:
                    found.setdefault((value.tag, event.step), set()).add(_bytes_of(tf.make_ndarray(value.tensor)))
        except tf.errors.DataLossError:  # a kill cut its last record off; readers stop there
            continue
    return {key: frozenset(values) for key, values in found.items()}
