"""What a command line of `evaluate` makes, and what the rows of its flags look at."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import write_run
from tests.wiring.given import TINY
from tf_simclr.cli import evaluate, evaluate_flags, flags
from tf_simclr.config import ExperimentConfig, LabelledTraining
from tf_simclr.errors import InputError
from tf_simclr.evaluate.feature_store import Features
from tf_simclr.evaluate.protocols import frozen, grid, whole_network
from tf_simclr.evaluate.protocols import runner as runner_module
from tf_simclr.evaluate.protocols.frozen import FrozenFeatures
from tf_simclr.evaluate.protocols.plan import plan
from tf_simclr.evaluate.protocols.runner import Networks, Runner

NETWORK = ("resnet_depth", "width_multiplier", "num_proj_layers", "proj_out_dim", "train_batch_size", "use_blur")
RUN = {name: TINY[name] for name in ("dataset", "image_size", *NETWORK)}
STEP = 3
IMAGES = {"dataset": "shapes", "train_split": "train[:60]", "eval_split": "test[:30]", "eval_batch_size": 10}


def write_runs(root: Path) -> None:
    """Leaves two runs, `run` and `other`, below a directory."""
    for name in ("run", "other"):
        (root / name).mkdir()
        write_run(root / name, RUN, STEP)


class StopError(Exception):
    """What a stand-in raises once it was called."""


class Evaluation:
    """What a command line of `evaluate` makes. Every part is made when it is first asked for."""

    def __init__(self, **values: Any):
        words = [f"--{name}={value}" for name, value in {**IMAGES, **values}.items()]
        called: list[Any] = []
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.setattr(evaluate, "run", lambda *arguments: called.extend(arguments) or 0)
            patch.setattr(evaluate_flags, "known_splits", lambda *words, **options: None)
            assert evaluate_flags.main(flags.parse(words, evaluate_flags.FLAG_GROUPS)) == 0
        self.protocols, self.data_config, self.runtime, self.origin, self.prefix, *_ = called
        self.config = ExperimentConfig(data=self.data_config, runtime=self.runtime)

    @functools.cached_property
    def context(self) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return evaluate.open_context(self.protocols, self.data_config, self.runtime, self.origin, self.prefix)

    @property
    def data(self) -> Any:
        """The splits; with the names that a run of run.py gives them."""
        return self.context.splits


def planned(field: str) -> Callable[[Evaluation], list[Any]]:
    """The values of a field of all that is planned, each once."""
    return lambda run: list(dict.fromkeys(getattr(one, field) for one in plan(run.context)))


@functools.lru_cache(maxsize=1)
def features() -> FrozenFeatures:
    """Of 60 training and 30 test images in ten classes: noise around each class's own place."""
    generator = np.random.default_rng(0)
    places = generator.normal(size=(10, 6))

    def some(count: int) -> Features:
        labels = np.arange(count) % 10
        noise = generator.normal(size=(count, 6))
        return Features((places[labels] + noise).astype(np.float32), labels, path="")

    return FrozenFeatures(some(60), some(30), None)


def found_by(protocol: str, run: Evaluation) -> list[Any]:
    """What a protocol on frozen features finds."""
    with contextlib.redirect_stdout(io.StringIO()):
        return frozen.RUN[protocol](run.context, features(), 0)


def neighbours(run: Evaluation) -> list[str]:
    return [setting for setting, _ in found_by("knn", run)]


def detail_of_logreg(name: str) -> Callable[[Evaluation], Any]:
    return lambda run: found_by("logreg", run)[0][1]["details"][name]


def asked_of_linear_cached(name: str) -> Callable[[Evaluation], Any]:
    """An argument of the classifier on stored features."""

    def asked(run: Evaluation) -> Any:
        with called(frozen, "linear_probe") as words:
            found_by("linear_cached", run)
        return words[name]

    return asked


@contextlib.contextmanager
def called(module: Any, name: str, *, stops: bool = False) -> Iterator[dict[str, Any]]:
    """Keeps the arguments of the last call of a function, by name or number, and then calls it, or stops."""
    function, words = getattr(module, name), {}

    def watched(*arguments: Any, **named: Any) -> Any:
        words.clear()
        words.update({**dict(enumerate(arguments)), **named})
        if stops:
            raise StopError
        return function(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, watched)
        yield words


def trained_by(protocol: str) -> Callable[[Evaluation], ExperimentConfig]:
    """The config of the training that a protocol starts; nothing is trained."""

    def config(run: Evaluation) -> ExperimentConfig:
        module = grid if protocol == "grid" else whole_network
        with called(module, "trained_model", stops=True) as words, tempfile.TemporaryDirectory() as directory:
            with pytest.raises(StopError):
                if protocol == "grid":
                    grid.finetune_grid(run.context, seed=0, directory=directory)
                elif protocol == "linear":
                    whole_network.linear(run.context, "final_avg_pool", pretrained=True, seed=0, directory=directory)
                else:
                    labels = LabelledTraining(protocol, protocol == "finetune", None, 3)
                    whole_network.with_labels(run.context, labels, seed=0, directory=directory)
            return whole_network.training_config(run.context, words[1], directory)

    return config


def training(protocol: str, part: str, name: str) -> Callable[[Evaluation], Any]:
    """A value of the config of a protocol's training."""
    return lambda run: getattr(getattr(trained_by(protocol)(run), part), name)


def points_of_grid(run: Evaluation) -> list[tuple[float, float]]:
    """The learning rates and weight decays that the grid tries, in order."""
    tried: list[tuple[float, float]] = []

    def point(context: Any, one: Any, *others: Any) -> dict[str, Any]:
        tried.append((one.learning_rate, one.weight_decay))
        return {"learning_rate": one.learning_rate, "weight_decay": one.weight_decay, "validation": 0.5}

    with contextlib.ExitStack() as stack:
        stack.enter_context(called(grid, "trained_model", stops=True))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(grid, "_point", point)
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        with pytest.raises(StopError):
            grid.finetune_grid(run.context, seed=0, directory=directory)
    return tried


def asked_of_features(run: Evaluation) -> dict[Any, Any]:
    """The arguments of `cached_features`."""
    runner = object.__new__(Runner)  # its networks would take a second to build
    runner._context, runner._directory = run.context, "nowhere"
    with called(runner_module, "cached_features", stops=True) as words, pytest.raises(StopError):
        runner._features(Networks(None, "digest"), "final_avg_pool")
    return dict(words)


def how_images_are_seen(run: Evaluation) -> list[tuple[Any, ...]]:
    """Size, batch and crop: of the features of frozen protocols, and of a network that was trained with labels."""
    with called(whole_network, "extracted", stops=True) as words, pytest.raises(StopError):
        whole_network.evaluated_on(run.context, None, run.context.splits.test, {})
    loaders = asked_of_features(run)[3], words[2]
    return [(loader.image_size, loader.batch_size, loader.crop) for loader in loaders]


def seed_of_features(run: Evaluation) -> int:
    return asked_of_features(run)["data_seed"]


def place_of_features(run: Evaluation) -> str:
    return asked_of_features(run)[2]


def looks_for_twins(run: Evaluation) -> bool:
    """Whether all images are compared before the protocols run."""
    runner = object.__new__(Runner)
    runner._context, runner._images = run.context, None
    with tempfile.TemporaryDirectory() as directory, called(Runner, "_compared", stops=True) as words:
        runner._store = runner_module.RecordStore(directory, lambda line: None)
        with contextlib.suppress(StopError):
            runner._find_twins(plan(run.context))
        return bool(words)


def chosen_by(run: Evaluation) -> float:
    """What settings are chosen by, where one class of two is always missed, and has one image of four."""
    return run.context.metric(np.zeros(4, np.int64), np.array([0, 0, 0, 1]))


def input_worker_missed(run):
    """The address of an input worker that is not there, as the evaluation names it when it opens its devices."""
    try:
        _ = run.context
    except InputError as error:
        return str(error).partition("Received: ")[2].partition(". ")[0]
    return None
