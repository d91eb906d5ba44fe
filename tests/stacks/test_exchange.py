"""Keras 2 and Keras 3 train to the same weights, and read each other's checkpoints and SavedModels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
VARIABLE = "TF_SIMCLR_OTHER_PYTHON"
OTHER = os.environ.get(VARIABLE)
STACKS = ("this", "other")

pytestmark = pytest.mark.skipif(
    not OTHER, reason=f"needs both stacks: set {VARIABLE} to the interpreter of the other one"
)


def exchange(stack, *words):
    interpreter = {"this": sys.executable, "other": OTHER}[stack]
    command = [interpreter, str(Path(__file__).with_name("exchange.py")), *map(str, words)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Stack -> the directory it wrote."""
    directories = {stack: tmp_path_factory.mktemp(stack) for stack in STACKS}
    for stack, directory in directories.items():
        exchange(stack, "write", directory)
    return directories


@pytest.fixture(scope="module")
def crossed(written, tmp_path_factory):
    """Stack -> what it made of the other's directory."""
    directories = {stack: tmp_path_factory.mktemp(f"read_by_{stack}") for stack in STACKS}
    for stack, directory in directories.items():
        exchange(stack, "read", written[another(stack)], directory)
    return directories


def another(stack):
    return STACKS[1 - STACKS.index(stack)]


def arrays(directory, name):
    with np.load(directory / f"{name}.npz") as file:
        return dict(file)


def worst(got, want):
    """Path and size of the largest difference, each array relative to its own largest value."""
    assert set(got) == set(want) and len(want) > 0
    differences = {k: np.abs(got[k] - want[k]).max() / max(np.abs(want[k]).max(), 1e-3) for k in want}
    return max((value, name) for name, value in differences.items())


def test_the_other_stack_is_another_one():
    programs = [sys.executable, OTHER]
    question = "import tensorflow as tf; print(hasattr(tf.keras, 'ops'))"
    answers = {subprocess.run([p, "-c", question], capture_output=True, text=True).stdout for p in programs}
    assert answers == {"True\n", "False\n"}


@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_twenty_steps_give_the_same_weights(optimizer, written):
    """Optimizer, schedule, exclusions, batch-norm statistics and slots at once."""
    this, other = (arrays(written[stack], f"{optimizer}_after") for stack in STACKS)
    assert worst(this, other) < (1e-4, "")
    assert this["optimizer/iterations"] == 20


@pytest.mark.parametrize("reader", STACKS)
@pytest.mark.parametrize("what", ["restored", "loaded"])
def test_outputs_survive_the_crossing(what, reader, written, crossed):
    assert worst(arrays(crossed[reader], what), arrays(written[another(reader)], "endpoints")) < (1e-5, "")


@pytest.mark.parametrize("reader", STACKS)
def test_feature_vectors_survive_the_crossing(reader, written, crossed):
    h = arrays(written[another(reader)], "endpoints")["final_avg_pool"]
    assert worst(arrays(crossed[reader], "vector"), {"final_avg_pool": h}) < (1e-5, "")


@pytest.mark.parametrize("reader", STACKS)
@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_training_goes_on_across_stacks(optimizer, reader, written, crossed):
    """Slots and step number are read too: two more steps end where the writer's own two do."""
    own = arrays(written[another(reader)], f"{optimizer}_later")
    assert worst(arrays(crossed[reader], f"{optimizer}_later"), own) < (1e-4, "")
    assert own["optimizer/iterations"] == 22


@pytest.mark.parametrize("reader", STACKS)
def test_the_training_signature_crosses_too(reader, crossed, written):
    """It normalises by the batch, so it differs from inference, and is the same whoever reads it."""
    trained = arrays(crossed[reader], "trained")
    assert worst(trained, arrays(crossed[reader], "loaded"))[0] > 1e-2
