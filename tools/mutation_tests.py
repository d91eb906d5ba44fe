"""Which tests try the mutants of which file: few and quick ones, those that name what is wrong first."""

from __future__ import annotations

_LOSS = ("tests/losses/test_nt_xent.py", "tests/losses/test_nt_logistic.py", "tests/losses/test_margin_triplet.py")
_MEMORY = "tests/losses/test_memory_negatives.py"
_VIEWS = (
    "tests/data/test_views.py",
    "tests/data/test_operators.py",
    "tests/train/test_view_policy.py",
    "tests/data/test_pipeline.py",
)
_WIRING = "tests/wiring/test_train_flags.py"
_CHECKPOINTS = ("tests/train/test_checkpoints.py", "tests/train/test_manifest.py", "tests/train/test_finite.py")
_DIRECTORY = "tests/cli/test_run_directory.py"

TESTS_OF: dict[str, tuple[str, ...]] = {
    "tf_simclr/losses/anchors.py": (*_LOSS, "tests/losses/test_nt_xent_blocks.py", _MEMORY),
    "tf_simclr/losses/chance.py": (*_LOSS, "tests/cli/test_chance.py"),
    "tf_simclr/losses/dcl.py": ("tests/losses/test_dcl.py",),
    "tf_simclr/losses/debiased.py": ("tests/losses/test_debiased.py",),
    "tf_simclr/losses/distillation.py": ("tests/losses/test_distillation.py",),
    "tf_simclr/losses/loss_object.py": ("tests/losses/test_objects.py",),
    "tf_simclr/losses/margin_triplet.py": (_LOSS[2], "tests/losses/test_negatives.py"),
    "tf_simclr/losses/negatives.py": ("tests/losses/test_negatives.py", *_LOSS[1:], "tests/losses/test_dcl.py"),
    "tf_simclr/losses/nt_logistic.py": (_LOSS[1], "tests/losses/test_negatives.py"),
    "tf_simclr/losses/nt_xent.py": (_LOSS[0], "tests/losses/test_nt_xent_blocks.py", _MEMORY),
    "tf_simclr/losses/__init__.py": ("tests/test_public_api.py",),
    "tf_simclr/losses/objects.py": ("tests/losses/test_objects.py",),
    "tf_simclr/losses/row_blocks.py": ("tests/losses/test_nt_xent_blocks.py",),
    "tf_simclr/losses/supcon.py": ("tests/losses/test_supcon.py",),
    "tf_simclr/losses/supervised.py": ("tests/losses/test_supervised.py", "tests/conformance/test_not_finite.py"),
    "tf_simclr/losses/variants.py": ("tests/losses/test_objects.py",),
    "tf_simclr/optim/build.py": (_WIRING,),
    "tf_simclr/optim/decay.py": ("tests/optim/test_decay.py",),
    "tf_simclr/optim/lamb.py": ("tests/optim/test_lamb.py",),
    "tf_simclr/optim/lars.py": ("tests/optim/test_lars.py",),
    "tf_simclr/optim/schedules.py": ("tests/optim/test_schedules.py",),
    "tf_simclr/train/average.py": ("tests/train/test_distill_step.py",),
    "tf_simclr/train/build.py": (_WIRING, "tests/train/test_required_labels.py"),
    "tf_simclr/train/input.py": (_WIRING, "tests/train/test_view_policy.py", "tests/train/test_input.py"),
    "tf_simclr/train/checkpoint_files.py": _CHECKPOINTS,
    "tf_simclr/train/checkpoint_reader.py": _CHECKPOINTS,
    "tf_simclr/train/checkpoint_store.py": _CHECKPOINTS,
    "tf_simclr/train/checkpoints.py": _CHECKPOINTS,
    "tf_simclr/train/checksums.py": ("tests/train/test_checksums.py",),
    "tf_simclr/train/classes.py": ("tests/data/test_class_order.py", _DIRECTORY),
    "tf_simclr/train/device_choice.py": ("tests/train/test_strategy.py",),
    "tf_simclr/train/device_views.py": ("tests/train/test_device_views.py", "tests/train/test_device_step.py"),
    "tf_simclr/train/directory.py": (_DIRECTORY,),
    "tf_simclr/train/distill_step.py": ("tests/train/test_distill_step.py", _WIRING),
    "tf_simclr/train/drawn_views.py": ("tests/cli/test_views.py",),
    "tf_simclr/train/finite.py": _CHECKPOINTS,
    "tf_simclr/train/images.py": ("tests/train/test_required_labels.py", "tests/cli/test_early.py"),
    "tf_simclr/train/interrupts.py": ("tests/train/test_loop.py",),
    "tf_simclr/train/loop.py": ("tests/train/test_loop.py",),
    "tf_simclr/train/manifest.py": ("tests/train/test_manifest.py", _DIRECTORY),
    "tf_simclr/train/memory.py": ("tests/train/test_memory.py",),
    "tf_simclr/train/micro_batch.py": (_WIRING, "tests/train/test_micro_batch.py"),
    "tf_simclr/train/observers.py": ("tests/train/test_loop.py",),
    "tf_simclr/train/online_head.py": ("tests/train/test_online_head.py",),
    "tf_simclr/train/precision.py": ("tests/train/test_precision.py",),
    "tf_simclr/train/precision_choice.py": ("tests/train/test_precision_choice.py",),
    "tf_simclr/train/pretrained.py": (_WIRING,),
    "tf_simclr/train/profiling.py": ("tests/train/test_profiling.py",),
    "tf_simclr/train/recorded_run.py": (_DIRECTORY,),
    "tf_simclr/train/run.py": (_WIRING,),
    "tf_simclr/train/skip.py": ("tests/train/test_skip.py",),
    "tf_simclr/train/step.py": (_WIRING,),
    "tf_simclr/train/step_checks.py": ("tests/train/test_micro_batch.py", "tests/train/test_xla.py"),
    "tf_simclr/train/strategy.py": ("tests/train/test_strategy.py",),
    "tf_simclr/train/summaries.py": (_WIRING,),
    "tf_simclr/train/teacher.py": ("tests/cli/test_distill.py",),
    "tf_simclr/train/timing.py": ("tests/train/test_timing.py",),
    "tf_simclr/train/train_function.py": ("tests/train/test_loop.py", "tests/train/test_timing.py"),
    "tf_simclr/train/workers.py": ("tests/train/test_strategy.py",),
    "tf_simclr/data/views.py": _VIEWS,
    "tf_simclr/evaluate/measures/metrics.py": ("tests/evaluate/measures/test_metrics.py",),
    "tf_simclr/evaluate/measures/knn.py": ("tests/evaluate/measures/test_knn.py",),
}


def targets() -> tuple[str, ...]:
    """The files whose code is changed."""
    return tuple(TESTS_OF)
