"""What flags make: the objects of a run, built from a command line as the program builds them."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr.cli import evaluate_flags, flags, study_flags, train_flags
from tf_simclr.compat import raw_variable
from tf_simclr.config import resolve_durations, with_warmup_that_ends
from tf_simclr.config.experiment import build_config
from tf_simclr.train import build, input

TASKS = {"train": train_flags, "evaluate": evaluate_flags, "study": study_flags}
TINY = {
    "dataset": "shapes",
    "train_split": "train[:48]",
    "eval_split": "test[:22]",
    "image_size": 16,
    "train_batch_size": 16,
    "eval_batch_size": 8,
    "resnet_depth": 10,
    "width_multiplier": 0.0625,
    "num_proj_layers": 2,
    "proj_out_dim": 16,
    "use_blur": False,
    "warmup_epochs": 0,
    "train_steps": 4,
    "mode": "train_then_eval",
}
CLASSES = 10
STEM = "encoder/stem_conv/kernel"


def flags_of(task: str) -> list[str]:
    """The names of all flags of a task."""
    return [field.name for group in TASKS[task].FLAG_GROUPS for field in group.fields]


@dataclass(frozen=True)
class Row:
    """What a flag does: with these values, and not without the flag, `found` is `expected`.

    Attributes:
        flag: its name.
        value: what it is set to.
        found: makes of a Given what the flag must change.
        expected: the value of `found`, or a function of the Given that computes it by another way.
        others: flags that are set in both cases.
        instead: its value in the second case; None leaves it out.
    """

    flag: str
    value: Any
    found: Callable[[Any], Any]
    expected: Any
    others: tuple[tuple[str, Any], ...] = ()
    instead: Any = None

    def __str__(self) -> str:
        others = "".join(f",{name}={value}" for name, value in self.others)
        return f"{self.flag}={self.value}{others}"


def row(
    flag: str, value: Any, found: Callable[[Any], Any], expected: Any, *, instead: Any = None, **others: Any
) -> Row:
    """A row; `others` are flags that are set with and without this one."""
    return Row(flag, value, found, expected, tuple(others.items()), instead)


def check(row: Row, given: Callable[..., Any]) -> None:
    """Fails where the flag does not do what its row says."""
    others = {name: value for name, value in row.others if name != row.flag}
    with_flag = given(**others, **{row.flag: row.value})
    found = row.found(with_flag)
    expected = _comparable(row.expected(with_flag) if callable(row.expected) else row.expected)
    assert found == expected, f"{row} makes {found}, and not {expected}"
    # Else the row would hold whatever the flag says.
    without = row.found(given(**others, **({} if row.instead is None else {row.flag: row.instead})))
    assert without != expected, f"{row} makes {found}, and the command without it as well"


def _comparable(value: Any) -> Any:
    return pytest.approx(value, rel=1e-5, abs=1e-7) if isinstance(value, float) else value


def require_rows(task: str, rows: list[Row]) -> None:
    """Fails for a flag without a row, and for a row of a flag that is not there."""
    assert sorted(set(flags_of(task))) == sorted({row.flag for row in rows})


class Given:
    """What a command line of run.py makes. Every part is made when it is first asked for.

    The networks are two convolutions and the usual heads, except for `networks`, which are those of the flags.
    """

    def __init__(self, **values: Any):
        self.values = values
        words = [f"--{name}={value}" for name, value in {**TINY, **values}.items()]
        self.parsed = flags.parse(words, train_flags.FLAG_GROUPS)
        self.config = build_config(self.parsed.values)

    @functools.cached_property
    def data(self) -> build.Data:
        return build.build_data(self.config)

    @functools.cached_property
    def strategy(self) -> tf.distribute.Strategy:
        return tf.distribute.OneDeviceStrategy("CPU:0")

    @functools.cached_property
    def durations(self) -> Any:
        return resolve_durations(self.config, 48)

    @functools.cached_property
    def completed_durations(self) -> Any:
        """With a warm-up that ends, as a command without --warmup_epochs has it."""
        return resolve_durations(with_warmup_that_ends(self.config, 48), 48)

    @functools.cached_property
    def networks(self) -> Any:
        tf.keras.utils.set_random_seed(0)
        return build.build_networks(self.config, CLASSES)

    @functools.cached_property
    def state(self) -> build.TrainState:
        with in_small():
            return build.build_train_state(self.config, self.durations, CLASSES)

    @functools.cached_property
    def policy(self) -> Any:
        return input.view_policy(self.config)[0]

    @functools.cached_property
    def batch(self) -> dict[str, Any]:
        """The first batch of training."""
        return next(iter(input.build_train_iterator(self.config, self.data.train, self.strategy, 0)))

    @functools.cached_property
    def before(self) -> dict[str, np.ndarray]:
        """Path -> value of all that is trained, before `metrics` and `moved_by`."""
        return {path: variable.numpy() for path, variable in self.paths.items()}

    @functools.cached_property
    def encoder_batches(self) -> list[int]:
        """How many images each call of the encoder had in `metrics`."""
        return []

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """Of one step on random images."""
        assert self.before
        stem = self.state.model.encoder.get_layer("stem_conv")
        call = stem.call
        stem.call = lambda images: (self.encoder_batches.append(images.shape[0]), call(images))[1]
        views = np.random.default_rng(0).uniform(size=(2, 8, 8, 8, 3)).astype(np.float32)
        batch = {"views": tuple(map(tf.constant, views)), "label": tf.range(8, dtype=tf.int64)}
        return {name: float(value) for name, value in self.state.step(batch).items()}

    @property
    def paths(self) -> dict[str, tf.Variable]:
        """Path -> variable of all that is trained."""
        trained = {id(v) for v in self.state.trained}
        named = self.state.model.named_variables()
        return {path: raw_variable(v) for path, v in named.items() if id(v) in trained}

    def moved_by(self, gradient: float) -> dict[str, np.ndarray]:
        """Path -> by how much the optimizer's first update moves a trained variable whose gradients are all alike."""
        state, before = self.state, {path: variable.numpy() for path, variable in self.paths.items()}
        gradients = [tf.fill(v.shape, gradient) for v in state.trained]
        state.optimizer.apply_gradients(zip(gradients, state.trained, strict=True))
        return {path: before[path] - variable.numpy() for path, variable in self.paths.items()}


@functools.cache
def _made(maker: type, names: tuple[tuple[str, Any], ...]) -> Any:
    return maker(**dict(names))


def shared(maker: type) -> Callable[..., Any]:
    """Makes one of each: rows that only read share what their flags make."""
    return lambda **values: _made(maker, tuple(sorted(values.items())))


def fresh(found: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For what changes the variables of a run: looks at one that no other row sees."""
    return lambda run: found(type(run)(**run.values))


def kernels_of(head: bool) -> set[str]:
    """The paths of the kernels of `small_networks`."""
    of_encoder = {f"encoder/{part}_conv/kernel" for part in ("stem", "block")}
    of_head = {f"projection_head/layer{number}_dense/kernel" for number in (1, 2)}
    return of_encoder | of_head | ({"supervised_head/dense/kernel"} if head else set())


@contextlib.contextmanager
def in_small() -> Iterator[None]:
    """In here a run builds two convolutions in place of a ResNet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build_networks", small_networks)
        yield


def layers_of(*models: Any) -> list[Any]:
    """The layers of some models."""
    return list(itertools.chain.from_iterable(model.layers for model in models))
