"""What is published of accelerators, and the rates that were measured on them; needs no TensorFlow."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from tf_simclr.cli.flags import CONFIGS
from tf_simclr.config import ExperimentConfig
from tf_simclr.errors import InputError
from tf_simclr.files import read_json

GIB = 2**30
# What a measured rate depends on; a batch or a head of another size changes it by little.
_OF_A_RATE = ("resnet_depth", "width_multiplier", "sk_ratio", "image_size", "precision", "jit_compile")


@dataclass(frozen=True)
class Accelerator:
    """One device, as its maker describes it.

    Attributes:
        title: its name in words.
        devices_each: devices for each unit in a name such as v4-8, which counts two cores for each chip.
        xla_always: whether steps are always compiled, as on a TPU.
        memory_gib: its memory.
        bfloat16_tflops: 10^12 floating-point operations a second in bfloat16 or float16, without sparsity.
        float32_tflops: the same of float32 as TensorFlow computes products by default, rounded to TF32 or bfloat16.
        bandwidth_gb_s: 10^9 bytes a second of its memory.
        source: of these numbers.
    """

    title: str
    devices_each: float
    xla_always: bool
    memory_gib: float
    bfloat16_tflops: float
    float32_tflops: float
    bandwidth_gb_s: float
    source: str

    @property
    def usable_bytes(self) -> float:
        """What a run can use: the rest goes to the driver, to libraries and to gaps between tensors."""
        return self.memory_gib * GIB * _table()["usable_memory"]

    def flops_per_second(self, precision: str) -> float:
        """The published peak for a --precision."""
        return 1e12 * (self.float32_tflops if precision == "float32" else self.bfloat16_tflops)

    def efficiency(self, compiled: bool) -> float:
        """The share of the roofline that steps reach where it was measured."""
        share: float = _table()["efficiency"]["compiled" if compiled or self.xla_always else "plain"]
        return share


@functools.cache
def _table() -> dict[str, Any]:
    table = read_json(str(CONFIGS / "accelerators.json"))
    assert table is not None, "a file of the package"
    return table


def accelerators() -> dict[str, Accelerator]:
    """All that are known, by name."""
    return {name: Accelerator(**values) for name, values in _table()["accelerators"].items()}


def several(text: str) -> tuple[str, Accelerator, int]:
    """An accelerator and the number of devices that a text such as h100, a100-8 or v4-8 names.

    Raises:
        InputError: there is no such accelerator, or no such number of devices.
    """
    known = accelerators()
    name, dash, count = text.partition("-")
    if name not in known:
        raise InputError(
            f"`accelerator` must be one of: {', '.join(known)}; with a number for several, as h100-8 or v4-8. "
            f"Received: accelerator={text}"
        )
    devices = int(count) * known[name].devices_each if re.fullmatch(r"[1-9]\d{0,5}", count) else 1 - bool(dash)
    if devices < 1 or devices != int(devices):
        raise InputError(
            f"`accelerator` must end in a number of devices. Received: accelerator={text}. Pass {name}, or "
            f"{name}-8 for {8 * known[name].devices_each:g} devices"
        )
    return name, known[name], int(devices)


def measured_rate(config: ExperimentConfig, name: str) -> dict[str, Any] | None:
    """A rate that was measured with this network on one such device, without micro-batches; None without one."""
    if config.train.train_mode != "pretrain" or config.model.se_ratio or config.model.stem != "auto":
        return None
    flags = config.to_flags()
    rows = (row for row in _table()["measured"] if row["accelerator"] == name)
    return next((row for row in rows if all(row[key] == flags[key] for key in _OF_A_RATE)), None)


def measured_host() -> dict[str, Any]:
    """How many images a second CPU cores made views of."""
    host: dict[str, Any] = _table()["host"]
    return host
