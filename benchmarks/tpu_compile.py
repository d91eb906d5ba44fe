"""Compiles training and evaluation steps for TPUs, on a machine without one, and says what memory they would take.

    python -m venv tpu && tpu/bin/pip install -r benchmarks/requirements-tpu-compiler.txt
    python -m benchmarks.tpu_compile --compiler tpu/bin/python
    python -m benchmarks.tpu_compile --compiler tpu/bin/python --cases resnet50 --chips v5e

TensorFlow writes the HLO of a step, and the compiler of PyPI's libtpu compiles it for one chip. Memory is what the
compiler reserves. Nothing is run: the time is the roofline's, the larger of arithmetic at the chip's published peak
and of bytes at its published bandwidth, and so an estimate. Collectives between chips are left out, and the HLO is
TensorFlow's for the CPU, which may differ in single operations from what a TPU would get. A ResNet-50 takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_simclr.config import Durations, ExperimentConfig, build_config
from tf_simclr.files import to_json, write_whole
from tf_simclr.train.build import build_data, build_networks, build_train_state
from tf_simclr.train.input import build_train_iterator

CLASSES = 1000
GIB = 2.0**30


@dataclass(frozen=True)
class Chip:
    """What is published of a TPU: the topology to compile for, GiB of memory, 10^12 bfloat16 FLOP/s, 10^9 bytes/s."""

    topology: str
    memory: float
    teraflops: float
    bandwidth: float


CHIPS = {
    "v4": Chip("v4:2x2x1", 32, 275, 1228),
    "v5e": Chip("v5e:2x2", 16, 197, 819),
    "v5p": Chip("v5p:2x2x1", 95, 459, 2765),
    "v6e": Chip("v6e:2x2", 32, 918, 1640),
}
_IMAGENET = {"resnet_depth": 50, "image_size": 224, "train_batch_size": 32, "precision": "bfloat16"}
CASES: dict[str, dict[str, Any]] = {
    # The paper's 4,096 images on 128 cores.
    "resnet50": _IMAGENET,
    "resnet50_augment": _IMAGENET | {"augment_on": "device"},
    "resnet50_x2": _IMAGENET | {"width_multiplier": 2.0},
    "resnet50_x4": _IMAGENET | {"width_multiplier": 4.0},
    "resnet50_micro_batches": _IMAGENET | {"train_batch_size": 256, "micro_batch_size": 32},
    "resnet50_finetune": _IMAGENET | {"train_mode": "finetune", "optimizer": "momentum"},
    "resnet50_evaluate": _IMAGENET | {"mode": "eval"},
    "tiny": _IMAGENET | {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 32, "train_batch_size": 8},
}


def main() -> None:
    """Prints the table, and writes the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", required=True, help="Python of the environment with the TPU's compiler")
    parser.add_argument("--cases", default=",".join(name for name in CASES if name != "tiny"), help=", ".join(CASES))
    parser.add_argument("--chips", default=",".join(CHIPS), help=", ".join(CHIPS))
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    chips = {name: CHIPS[name] for name in options.chips.split(",")}
    found = []
    print("| step | chip | memory, GiB | of the chip | GFLOP | GiB accessed | estimate, ms | compiled in, s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for case in options.cases.split(","):
            path = os.path.join(directory, f"{case}.hlo")
            Path(path).write_bytes(hlo_of(build_config({"dataset": "shapes", **CASES[case]})))
            for name, chip in chips.items():
                result = compiled(options.compiler, path, chip)
                print(row(case, name, chip, result), flush=True)
                found.append({"case": case, "chip": name, "flags": CASES[case]} | result)
    if options.json:
        write_whole(options.json, to_json({"tensorflow": tf.__version__, "results": found}, indent=2).encode())


def hlo_of(config: ExperimentConfig) -> bytes:
    """The HLO of one step of a run, or of its evaluation, on one replica."""
    n, side = config.data.train_batch_size, config.data.image_size
    if config.runtime.mode == "eval":
        model = build_networks(config, CLASSES)
        return _hlo(lambda images: model.endpoints(images, training=False), tf.zeros([n, side, side, 3]))
    state = build_train_state(config, Durations(10_000, 1, 100, 100), num_classes=CLASSES)
    if state.device_views is not None:
        strategy = tf.distribute.get_strategy()
        return _hlo(
            state.step, next(build_train_iterator(config, build_data(config).train, strategy, 0, host_only=True))
        )
    views = 1 if config.train.train_mode == "finetune" else 2
    batch = {"views": (tf.zeros([n, side, side, 3]),) * views, "label": tf.zeros([n], tf.int64)}
    return _hlo(state.step, batch)


def _hlo(function: Any, *arguments: Any) -> bytes:
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized", device_name="/device:CPU:0")


def compiled(python: str, path: str, chip: Chip) -> dict[str, Any]:
    """What the compiler says; see `benchmarks/tpu_compiler.py`."""
    program = str(Path(__file__).with_name("tpu_compiler.py"))
    done = subprocess.run([python, program, path, chip.topology], capture_output=True, text=True)
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def row(case: str, name: str, chip: Chip, result: dict[str, Any]) -> str:
    """A row of the table."""
    if "error" in result:
        return f"| {case} | {name} | does not compile: {result['error'][:300]} | | | | | |"
    memory = (result["argument_bytes"] + result["temporary_bytes"]) / GIB
    milliseconds = 1e3 * max(
        result["flops"] / (chip.teraflops * 1e12), result["bytes_accessed"] / (chip.bandwidth * 1e9)
    )
    numbers = [f"{memory:.2f}", f"{memory / chip.memory:.0%}", f"{result['flops'] / 1e9:,.0f}"]
    numbers += [f"{result['bytes_accessed'] / GIB:.1f}", f"{milliseconds:.1f}", f"{result['seconds']:.0f}"]
    return "| " + " | ".join([case, name, *numbers]) + " |"


if __name__ == "__main__":
    main()
