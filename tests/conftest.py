"""Every test process sees four logical CPU devices, so that 1, 2 and 4 replicas can be compared inside it."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

LOGICAL_DEVICES = 4

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script that starts the tests in its background has them ignore Ctrl-C, and all programs that they start.
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

# The oracles are exact. A GPU would compute float32 products with ten bits of mantissa, under XLA as well.
tf.config.experimental.enable_tensor_float_32_execution(False)

_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    _cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(LOGICAL_DEVICES)]
)

# What the imports made stays, and a traced graph is a million small objects: Python's usual thresholds have it look
# through them for garbage thousands of times.
gc.freeze()
gc.set_threshold(20_000, 10, 10)

# The files that take longest, longest first. A file goes whole to one process (--dist=loadfile): where a long one comes
# late, the other processes have nothing left to do beside it.
LONG_FILES = (
    "cli/test_study.py",
    "cli/test_train_end_to_end.py",
    "docs/test_readme_commands.py",
    "cli/test_run_directory.py",
    "notebooks/test_notebooks.py",
    "docs/test_docs.py",
    "cli/test_multi_worker.py",
    "evaluate/protocols/test_runner.py",
    "data/test_decoding.py",
    "cli/test_evaluate.py",
    "data/test_parts.py",
    "cli/test_embed.py",
    "cli/test_folder_runs.py",
    "cli/test_signals.py",
    "stacks/test_exchange.py",
    "test_simclr.py",
    "docs/test_api_reference.py",
    "data/test_subset.py",
    "tools/test_random_kills.py",
    "train/test_step.py",
    "interop/test_saved_model.py",
    "train/test_micro_batch.py",
    "wiring/test_train_flags.py",
    "wiring/test_evaluate_flags.py",
    "train/test_precision.py",
    "train/test_device_step.py",
    "data/test_pipeline.py",
    "nn/test_resnet_encoder.py",
    "train/test_xla.py",
    "nn/test_simclr_model.py",
    "losses/test_nt_xent_blocks.py",
)

# Tests of documents, tools, reports and files, which are the same Python beside either TensorFlow.
PYTHON_ALONE = (
    *("docs", "index", "studies", "tools", "stacks", "evaluate/protocols", "evaluate/report", "conformance"),
    *("data", "evaluate/test_transfer_configs.py", "wiring/test_evaluate_flags.py", "wiring/test_study_flags.py"),
    *("cli/test_embed.py", "cli/test_browse.py", "cli/test_prepare.py", "cli/test_projector.py", "cli/test_early.py"),
    *("cli/test_recipe.py", "cli/test_budget.py", "cli/test_compare.py", "cli/test_study_sets.py"),
    *("cli/test_help_pages.py", "cli/test_start_noise.py", "cli/test_next_steps.py", "cli/test_evaluate.py"),
    *("cli/test_chance.py", "cli/test_flags.py", "cli/test_header_lines.py", "cli/test_input_watch.py"),
    *("cli/test_online_data.py", "cli/test_plan.py", "cli/test_progress.py", "cli/test_same_flags.py"),
    *("evaluate/test_predictions.py", "evaluate/test_results.py"),
    *("train/test_interrupts.py", "train/test_required_labels.py", "train/test_same_images.py"),
    *("test_config.py", "test_directory_lock.py", "test_escape.py", "test_files.py", "test_identity.py"),
    *("test_own_images.py", "test_paths.py", "test_protocol_config.py", "test_resumable.py", "test_stored.py"),
    *("test_unfinished.py", "test_wheel.py"),
    # Measures of NumPy alone.
    *("evaluate/measures/test_baselines.py", "evaluate/measures/test_intervals.py"),
    *("evaluate/measures/test_linear.py", "evaluate/measures/test_logistic_regression.py"),
    *("evaluate/measures/test_multi_label.py", "evaluate/measures/test_paired.py"),
    "evaluate/measures/test_standardise.py",
)
# Of these, what decodes images, makes views or runs a network.
WITH_TENSORFLOW = (
    *("docs/test_api_reference.py", "studies/test_transformations.py"),
    *("data/test_decoding.py", "data/test_views.py", "data/test_operators.py", "data/test_pipeline.py"),
    *("data/test_image_formats.py", "data/test_read_errors.py", "data/test_large_images.py"),
    *(
        "conformance/test_not_finite.py",
        "data/test_preprocess.py",
        "data/test_tfds_source.py",
        "data/test_orientation_blocks.py",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long files first; within a file, and among the others, the order stays. Marks what is Python alone."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONG_FILES)}
    assert all(path.is_file() for path in rank), "LONG_FILES names a file that is no more"
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    alone, others = ([Path(__file__).parent / name for name in names] for names in (PYTHON_ALONE, WITH_TENSORFLOW))
    assert all(path.exists() for path in (*alone, *others)), "a name is of no file"
    for item in items:
        if item.path not in others and any(path in (item.path, *item.path.parents) for path in alone):
            item.add_marker(pytest.mark.python_alone)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds every test, before its fixtures: networks without a seed of their own then have the same weights each time.

    Else their weights would hang on which tests ran before in the same process, and a tolerance could fail once in a
    hundred runs.
    """
    tf.keras.utils.set_random_seed(0)


@pytest.fixture
def mirrored() -> Callable[[int], tf.distribute.MirroredStrategy]:
    """Builds a MirroredStrategy over the first n logical CPU devices.

    Collective groups are numbered from a base that all strategies of a process share, and a number cannot serve groups
    of two sizes: every strategy gets numbers of its own.
    """

    def build(replicas: int) -> tf.distribute.MirroredStrategy:
        tf.distribute.MirroredStrategy._collective_key_base += 1000
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])

    return build


TINY_FLAGS = (
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
    "--train_steps=4",
    "--checkpoint_steps=2",
    "--draw_views=False",
)


@pytest.fixture(scope="session")
def tiny_flags() -> tuple[str, ...]:
    """Flags of a run on 48 small images that takes seconds: four steps of 16 images."""
    return TINY_FLAGS
