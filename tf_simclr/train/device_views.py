"""Where the views of a training are made: by the input pipeline, on the host, or by the step, on the device.

In both cases the host decodes, draws all random numbers, crops and resizes. Where the device augments, it stops there:
it rounds the crops to the 256 levels of uint8, a quarter of the bytes, and sends them with the draws. The operators are
the same functions of the same draws in both places. So the views differ by that rounding, at most 1/510 a pixel, and by
what the operators make of it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.views import ViewPolicy, apply_views
from tf_simclr.errors import InputError
from tf_simclr.ops.batching import static_shapes

Batch = dict[str, Any]


class Views(Protocol):
    """Makes the views of a replica's batch, or of its images `rows` alone."""

    def __call__(self, batch: Batch, rows: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Float32 [n, s, s, 3] in [0, 1] for each view, n of the batch or of `rows`, int32 [n]."""


def given_views(batch: Batch, rows: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
    """The views that the input pipeline made; see `Views`."""
    return tuple(_of_rows(batch["views"], rows))


class DeviceViews:
    """Makes views of the crops and draws that `train_batches(host_only=True)` gives; see `Views`.

    A batch that has its views already, as a fixed one of a benchmark, keeps them. All shapes are known, so that XLA
    compiles it, together with the step or by itself.

    Args:
        policy: the one that the draws are of.
        num_views: of each image.
        compiled: whether XLA compiles it by itself, which a step on several replicas cannot be as a whole.
    """

    def __init__(self, policy: ViewPolicy, num_views: int, *, compiled: bool = False):
        self.policy, self.num_views, self.compiled = policy, num_views, compiled
        self._make = tf.function(self._made, jit_compile=True, autograph=False) if compiled else self._made

    def __call__(self, batch: Batch, rows: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """As `Views` says."""
        if "views" in batch:
            return given_views(batch, rows)
        return tuple(self._make(batch["crops"], batch["draws"], rows))

    def _made(
        self, crops: tuple[tf.Tensor, ...], draws: dict[str, tf.Tensor], rows: tf.Tensor | None
    ) -> tuple[tf.Tensor, ...]:
        with static_shapes():
            return apply_views(self.policy, _of_rows(crops, rows), _of_rows(draws, rows), self.num_views)


def _of_rows(tensors: Any, rows: tf.Tensor | None) -> Any:
    return tensors if rows is None else tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), tensors)


@dataclass(frozen=True)
class Place:
    """Where a run augments.

    Attributes:
        on_device: whether the step does.
        compiled: as in `DeviceViews`.
        note: a line that says so, where it is not the host of a run on CPUs.
    """

    on_device: bool
    compiled: bool = False
    note: str = ""


def choose_place(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> Place:
    """`place_on` the devices of a strategy."""
    return place_on(first_device(strategy), config)


def place_on(device: str, config: ExperimentConfig) -> Place:
    """Where a run on a device augments, by --augment_on.

    On GPUs XLA compiles the operators, with the step or by themselves: one by one they would write and read every
    view a hundred times.

    Raises:
        InputError: the device is asked for, and XLA cannot compile for it.
    """
    asked, kind = config.runtime.augment_on, tf.DeviceSpec.from_string(device).device_type
    if asked == "host" or (asked == "auto" and kind == "CPU"):
        return Place(on_device=False)
    if asked == "auto" and kind == "TPU" and _looks_up_pixels(config):
        return _host_after_all("a TPU is slow at looking up pixels, as autoaugment does")
    compiled = kind == "GPU" and not config.runtime.jit_compile
    problem = xla_problem(device) if compiled else None
    if problem is None:
        return Place(True, compiled, f"the {kind} augments: the host sends 8-bit crops (--augment_on={asked})")
    if asked == "device":
        raise InputError(
            f"`augment_on` device needs XLA, which cannot compile for {device} here: {problem}. Received: "
            "augment_on=device. Pass --augment_on=host"
        )
    return _host_after_all(f"XLA cannot compile for {device} here: {problem}")


def _host_after_all(why: str) -> Place:
    return Place(on_device=False, note=f"note: the host augments: {why}")


def _looks_up_pixels(config: ExperimentConfig) -> bool:
    """Whether a view costs a TPU 7.6 GiB of traffic at 224 pixels, where the default operators take 26 MiB.

    That is the estimate of its compiler, for a v5e.
    """
    return any(operator.name == "autoaugment" for operator in config.augmentation.operators)


def first_device(strategy: tf.distribute.Strategy) -> str:
    """The name of a device that replicas of a strategy run on."""
    try:
        return strategy.extended.worker_devices[0]
    except RuntimeError:  # what TensorFlow has where no strategy was chosen does not say
        return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


@functools.cache
def xla_problem(device: str) -> str | None:
    """Why XLA cannot compile a few operations for a device, in one line; None where it can."""
    try:
        with tf.device(device):
            result = tf.function(lambda x: tf.exp(tf.sin(x)), jit_compile=True)(tf.ones([8]))
    except (tf.errors.OpError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    # TensorFlow takes another device where there is none of that name.
    wanted, taken = (tf.DeviceSpec.from_string(name).device_type for name in (device, result.device))
    return None if wanted == taken else "there is no such device"
