"""Every flag of run.py, and what it changes in what is built or written.

A row sets a flag and names the value that must come out at the other end: of an attribute of the optimizer, a layer of
the network, a number in the loss, a file. A cut wire leaves the flag's default there, which the row refuses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.wiring.given import Given, check, fresh, kernels_of, require_rows, row, shared
from tests.wiring.images import (
    all_images,
    as_numbers,
    batch_of,
    evaluated,
    evaluation_images,
    held_in_memory,
    held_out,
    held_out_by,
    last_shown,
    measured_on,
    plan_of,
    plan_while_training,
    refused,
    shapes_of,
    write_folders,
)
from tests.wiring.networks_of import (
    convolutions,
    dense_layers,
    frozen_groups,
    in_checkpoint_of_teacher,
    input_of_head,
    layer_words,
    normalized,
    norms,
    offsets_of_head,
    operator,
    operators_of,
    outputs,
    pads_before_pool,
    stem_of,
    stem_weights,
    taught,
    write_small_checkpoint,
)
from tests.wiring.numbers import (
    all_but_kernels,
    averaged_share,
    dcl_by_hand,
    debiased_by_hand,
    decay_of_lamb,
    decayed,
    distilled,
    distilled_by_hand,
    entropy_like,
    entropy_of,
    evaluated_penalty,
    evaluated_penalty_by_hand,
    followed_share,
    labelled_loss_of,
    loss_like,
    loss_of,
    micro_batches,
    nt_xent_by_hand,
    penalty,
    penalty_by_hand,
    plainly_moved,
    remembered,
    supcon_by_hand,
    triplet_by_hand,
    weighed_by_hand,
)
from tests.wiring.runs import (
    asked_of_tpu,
    begun,
    checkpoints_kept,
    chosen,
    counted,
    cpu_refused,
    curves_in,
    described_or_trained,
    draws,
    exports_kept,
    input_worker_missed,
    kind_of_mode,
    loaded,
    opened_in,
    profiled,
    replicas,
    said_in_mode_eval,
    settled,
    started,
    trained_after,
)
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.nt_logistic import nt_logistic

# ---- The table ----

PLACE = {"data_dir": "{folders}/plain", "train_split": "train", "eval_split": "test"}
FOLDER = {"dataset": "folder", **PLACE}
ONE = {"mode": "train", "eval_split": "test", "train_split": "train", "dataset": "folder"}
TUNED = {"train_mode": "finetune"}
LARS, SGD, ADAM, LAMB = ({"optimizer": name} for name in ("lars", "momentum", "adam", "lamb"))
SEMI = {"loss": "nt_logistic", "margin": 0.7, "temperature": 0.3}
TPU = {"tpu_name": "here"}
OVER = {"mode": "train"}

DATA = [
    row("dataset", "folder", lambda run: run.data.train.class_names, ("cat", "dog"), **PLACE, instead="shapes"),
    row(
        "data_dir",
        "{folders}/plain",
        lambda run: Path(run.data.train.location).name,
        "plain",
        instead="{folders}/damaged",
        **ONE,
    ),
    row("train_split", "train[:40]", lambda run: run.data.train.num_examples, 40),
    row("eval_split", "test[:14]", lambda run: run.data.evaluation.num_examples, 14),
    row("image_size", 24, lambda run: run.batch["views"][0].shape, (16, 24, 24, 3)),
    row("image_size", 24, evaluation_images, lambda run: (24, 8, 1.0, 8, last_shown(run, 24, 1.0))),
    row("image_size", 40, lambda run: run.networks.encoder.get_layer("stem_conv").kernel.shape[0], 7),
    row("train_batch_size", 12, lambda run: run.batch["views"][1].shape, (12, 16, 16, 3)),
    row("train_batch_size", 12, lambda run: run.state.schedule.peak, 0.3 * 12 / 256),
    row("eval_batch_size", 6, evaluation_images, lambda run: (16, 6, 1.0, 6, last_shown(run, 16, 1.0))),
    row("eval_crop", 0.5, evaluation_images, lambda run: (16, 8, 0.5, 8, last_shown(run, 16, 0.5))),
    row("data_seed", 5, all_images, lambda run: shapes_of(5)),
    row("data_seed", 5, lambda run: plan_of(run).seed, 5),
    row("cache_dataset", True, held_in_memory, True, color_jitter_strength=0),
    row("labels", "{folders}/labels.csv", lambda run: run.data.train.class_names, ("bird", "fish"), **FOLDER),
    row("hold_out_by", "count", held_out, held_out_by("count"), **FOLDER),
    row("decoder", "tensorflow", refused, True, **ONE, data_dir="{folders}/formats"),
    row("on_bad_image", "skip", lambda run: run.data.train.num_examples, 120, **ONE, data_dir="{folders}/damaged"),
    row("max_image_pixels", 2**24, refused, True, **ONE, data_dir="{folders}/large"),
]
AUGMENTATION = [
    row("color_jitter_strength", 0.3, lambda run: operator("ColorJitter")(run).strength, 0.3),
    row(
        "color_jitter_strength",
        0.3,
        lambda run: operator("ColorJitter")(run).strength,
        0.3,
        augmentation="crop,color_jitter",
    ),
    row("color_jitter_impl", "simclrv2", lambda run: operator("ColorJitter")(run).impl, "simclrv2"),
    row(
        "color_jitter_impl",
        "simclrv2",
        lambda run: operator("ColorJitter")(run).impl,
        "simclrv2",
        augmentation="crop,color_jitter",
    ),
    row("min_crop_area", 0.6, lambda run: run.policy.min_crop_area, 0.6),
    row("min_crop_area", 0.6, lambda run: run.policy.min_crop_area, 0.6, augmentation="crop,flip"),
    row("min_crop_area", 0.6, lambda run: run.policy.min_crop_area, 0.6, **TUNED),
    row("use_blur", True, operators_of, ["Flip", "ColorJitter", "ColorDrop", "Blur"]),
    row("augmentation", "crop,noise,flip", operators_of, ["Noise", "Flip"]),
    row("augmentation_branch", "one", lambda run: run.policy.one_branch, True, augmentation="crop,flip"),
]
MODEL = [
    row("resnet_depth", 34, convolutions, 1 + 2 * 16 + 4),
    row("width_multiplier", 0.125, outputs("encoder", "final_avg_pool"), 64),
    row("sk_ratio", 0.25, lambda run: "sk" in layer_words(run), True, resnet_depth=50),
    row("se_ratio", 0.25, lambda run: "se" in layer_words(run), True),
    row("stem", "imagenet", lambda run: run.networks.encoder.get_layer("stem_conv").kernel.shape[0], 7),
    row("pool_padding", "symmetric", pads_before_pool, True, stem="imagenet"),
    row("identity_shortcut", True, convolutions, 1 + 2 * 8 + 3, resnet_depth=18),
    row("input_mean", "0.5,0.25,0.125", normalized, [0.5, -0.25, 0.375]),
    row("input_std", "2,4,8", normalized, [0.5, 0.0, 0.0625]),
    row("proj_head_mode", "linear", lambda run: dense_layers(run.networks.projection_head), ["layer1_dense"]),
    row("proj_out_dim", 24, outputs("projection_head", "proj_head_output"), 24),
    row(
        "num_proj_layers",
        3,
        lambda run: dense_layers(run.networks.projection_head),
        ["layer1_dense", "layer2_dense", "layer3_dense"],
    ),
    row("proj_head_offset", True, offsets_of_head, ["layer1_norm", "layer2_norm"]),
    row("global_bn", False, norms, {(0.9, False)}),
    row("batch_norm_decay", 0.8, norms, {(0.8, True)}),
    row(
        "zero_init_logits_layer",
        True,
        lambda run: not np.any(run.networks.supervised_head.get_layer("dense").kernel),
        True,
    ),
]
LOSS = [
    row("loss", "margin_triplet", loss_of, triplet_by_hand(0.4)),
    row("loss", "dcl", loss_of, dcl_by_hand(0.1)),
    row("loss", "debiased", loss_of, debiased_by_hand(0.1, 0.1)),
    row("loss", "supcon", labelled_loss_of, supcon_by_hand(0.1)),
    row("class_prior", 0.3, loss_of, debiased_by_hand(0.1, 0.3), loss="debiased"),
    row("memory_size", 64, remembered, (64, 16)),
    row("memory_decay", 0.25, followed_share, 0.75, memory_size=64),
    row("temperature", 0.3, loss_of, nt_xent_by_hand(0.3, True)),
    row("temperature", 0.3, loss_of, dcl_by_hand(0.3), loss="dcl"),
    row("temperature", 0.3, loss_of, debiased_by_hand(0.3, 0.1), loss="debiased"),
    row("temperature", 0.3, labelled_loss_of, supcon_by_hand(0.3), loss="supcon"),
    row("temperature", 0.3, loss_of, loss_like(nt_logistic, 0.3), loss="nt_logistic"),
    row("temperature", 0.3, entropy_of, entropy_like(margin_triplet, 0.3), loss="margin_triplet"),
    row("hidden_norm", False, loss_of, nt_xent_by_hand(0.1, False)),
    row("hidden_norm", False, loss_of, dcl_by_hand(0.1, False), loss="dcl"),
    row("hidden_norm", False, labelled_loss_of, supcon_by_hand(0.1, False), loss="supcon"),
    row("hidden_norm", False, loss_of, loss_like(nt_logistic, 0.1, hidden_norm=False), loss="nt_logistic"),
    row("hidden_norm", False, loss_of, loss_like(margin_triplet, 0.1, hidden_norm=False), loss="margin_triplet"),
    row("margin", 0.7, loss_of, triplet_by_hand(0.7), loss="margin_triplet"),
    row(
        "margin",
        0.05,
        loss_of,
        loss_like(nt_logistic, 0.1, margin=0.05, semi_hard=True),
        loss="nt_logistic",
        semi_hard=True,
    ),
    row("semi_hard", True, loss_of, loss_like(nt_logistic, 0.3, margin=0.7, semi_hard=True), **SEMI),
    row(
        "semi_hard",
        True,
        loss_of,
        loss_like(margin_triplet, 0.3, margin=0.7, semi_hard=True),
        **{**SEMI, "loss": "margin_triplet"},
    ),
]
KERNELS, HEAD = kernels_of(head=True), "supervised_head/dense/kernel"
# The head that the run's own optimizer trains; the other one has an update of its own.
AUTHORS = {"online_head": "authors"}
OPTIMIZER = [
    row("online_head", "authors", lambda run: run.state.online, None),
    row("optimizer", "lars", lambda run: type(run.state.optimizer).__name__, "LARSOptimizer", instead="adam"),
    row("optimizer", "lamb", lambda run: type(run.state.optimizer).__name__.lower()[-4:], "lamb"),
    row("optimizer", "adam", lambda run: type(run.state.optimizer).__name__, "Adam"),
    row("optimizer", "momentum", lambda run: type(run.state.optimizer).__name__, "SGD"),
    # LARS and LAMB neither decay nor adapt the head; the head's decay is in the loss, and so is all of the others'.
    row("optimizer", "lars", fresh(decayed), kernels_of(head=False), instead="momentum"),
    row("optimizer", "lamb", fresh(decayed), kernels_of(head=False), instead="adam"),
    row("optimizer", "lars", fresh(plainly_moved), all_but_kernels, instead="momentum"),
    row("optimizer", "lars", penalty, penalty_by_hand({HEAD}), weight_decay=0.01, **AUTHORS, instead="adam"),
    row("optimizer", "lamb", penalty, penalty_by_hand({HEAD}), weight_decay=0.01, **AUTHORS, instead="adam"),
    row("optimizer", "adam", penalty, penalty_by_hand(KERNELS), weight_decay=0.01, **AUTHORS, instead="lars"),
    row("optimizer", "momentum", penalty, penalty_by_hand(KERNELS), weight_decay=0.01, **AUTHORS, instead="lars"),
    row("optimizer", "momentum", lambda run: getattr(run.state.optimizer, "nesterov", None), True),
    row("learning_rate", 0.7, lambda run: run.state.schedule.peak, 0.7 * 16 / 256),
    row("learning_rate", 0.7, fresh(lambda run: float(run.moved_by(1.0)[HEAD][0, 0])), 0.7 * 16 / 256, **AUTHORS),
    row("learning_rate_scaling", "sqrt", lambda run: run.state.schedule.peak, 0.3 * 4.0),
    row("warmup_epochs", 1, lambda run: run.state.schedule.warmup_steps, 3),
    row("weight_decay", 0.01, lambda run: run.state.optimizer.lars_weight_decay, 0.01, **LARS),
    row("weight_decay", 0.01, decay_of_lamb, 0.01, **LAMB),
    row("weight_decay", 0.01, penalty, penalty_by_hand({HEAD}), **LARS, **AUTHORS),
    row("weight_decay", 0.01, penalty, penalty_by_hand(KERNELS), **SGD, **AUTHORS),
    row("weight_decay", 0.01, penalty, penalty_by_hand(KERNELS), **SGD, **AUTHORS, micro_batch_size=4),
    row("weight_decay", 0.01, penalty, penalty_by_hand(KERNELS), **SGD, **TUNED),
    row("weight_decay", 0.01, evaluated_penalty, evaluated_penalty_by_hand, **SGD, **AUTHORS),
    row("momentum", 0.7, lambda run: run.state.optimizer.momentum, 0.7, **LARS),
    row("momentum", 0.7, lambda run: run.state.optimizer.momentum, 0.7, **SGD),
]
METRICS = {"train/contrast_loss", "train/contrast_acc", "train/contrast_entropy", "train/weight_decay"}
SUPERVISED = {"train/supervised_loss", "train/supervised_acc", "train/weight_decay", "train/total_loss"}
ONLINE = {"eval_every_epochs": 0.5}
TRAIN = [
    row("train_mode", "finetune", lambda run: set(run.metrics), SUPERVISED),
    row("train_mode", "finetune", lambda run: len(run.batch["views"]), 1),
    row("train_mode", "finetune", operators_of, ["Flip"]),
    row("train_epochs", 3, lambda run: run.state.schedule.total_steps, 10, train_steps=0),
    row("train_steps", 7, lambda run: run.state.schedule.total_steps, 7),
    row("micro_batch_size", 3, micro_batches, [6, 6, 4] * 2),
    row("lineareval_while_pretraining", False, lambda run: run.networks.supervised_head, None),
    row("untrained_baseline", True, trained_after, ["run", "untrained_baseline"]),
    row("skip_nonfinite_steps", 2, lambda run: run.state.skipped.limit, 2),
    row("skip_nonfinite_steps", 2, counted, 0.0, mode="train"),
    row("profile_steps", "2,3", profiled, [(2, 3), None], untrained_baseline=True),
    row("draw_views", False, draws, False),
    row("dry_run", True, described_or_trained, ["describes"]),
    row("checkpoint", "{folders}/trained", started, loaded, **TUNED),
    row("fine_tune_after_block", 2, frozen_groups, {0, 1, 2}, **TUNED),
    row("ft_proj_selector", 1, input_of_head, (1, ["projection_head/layer1_dense/kernel"]), **TUNED),
]
WRITTEN = [
    row("checkpoint_epochs", 2, lambda run: run.durations.checkpoint_steps, 6),
    row("checkpoint_steps", 1, lambda run: run.durations.checkpoint_steps, 1),
    row("keep_checkpoint_max", 2, checkpoints_kept, ["ckpt-3.index", "ckpt-4.index"], checkpoint_steps=1),
    row("keep_hub_module_max", 2, exports_kept, ["2", "4"]),
    row("eval_steps", 2, lambda run: evaluated(run)[1]["eval/examples"], 16.0),
    row("eval_name", "more", curves_in, {"more"}),
    row("eval_timeout", 0.01, said_in_mode_eval, "eval_timeout=0.01", instead=0.02),
    row("eval_every_epochs", 0.5, lambda run: run.durations.online_eval_steps, 2),
    row("eval_every_epochs", 0.5, lambda run: plan_while_training(run) is not None, True),
    row("online_eval_examples", 30, lambda run: plan_of(run).gallery.num_examples, 30),
    row("online_data_dir", "{folders}/plain", measured_on, "plain"),
    row("online_eval_examples", 30, lambda run: plan_while_training(run).gallery.num_examples, 30, **ONLINE),
]
RUNTIME = [
    row("mode", "eval", kind_of_mode, "follow"),
    row("mode", "train", lambda run: run.data.evaluation, None),
    row("model_dir", "somewhere/else", lambda run: opened_in(run), "somewhere/else", instead="here"),
    row("overwrite", True, begun, (["flags.json", "lock.json"], {".replaced-"}), **OVER, draw_views=False),
    row("seed", 7, lambda run: as_numbers(run.batch["views"][1]), batch_of(7)),
    row("seed", 7, lambda run: stem_of(run), stem_weights(7)),
    row("precision", "bfloat16", lambda run: run.networks.encoder.get_layer("stem_conv").compute_dtype, "bfloat16"),
    row("precision", "float16", lambda run: run.state.updater.dynamic_scale, True),
    row("precision", "auto", settled, "bfloat16", model_dir="nowhere"),
    row("jit_compile", True, lambda run: getattr(run.state.step, "_jit_compile", None), True),
    row("augment_on", "device", lambda run: run.state.device_views is not None, True),
    row("augment_on", "host", lambda run: run.state.device_views is None, True, instead="device"),
    row("input_workers", "grpc://localhost:1", input_worker_missed, "grpc://localhost:1", model_dir="nowhere"),
    row("strategy", "mirrored", chosen, ("mirrored", "--strategy=mirrored")),
    row("strategy", "mirrored", replicas, 4),
    row("cpu_devices", 4, chosen, ("mirrored", "--cpu_devices=4")),
    row("cpu_devices", 3, cpu_refused, True),
    row("use_tpu", True, chosen, ("tpu", "--use_tpu asks for a TPU")),
    row("tpu_name", "mine", lambda run: asked_of_tpu(run)["tpu"], "mine"),
    row("tpu_name", "mine", chosen, ("tpu", "--tpu_name asks for a TPU")),
    row("master", "grpc://host", lambda run: asked_of_tpu(run)["tpu"], "grpc://host"),
    row("tpu_zone", "a-zone", lambda run: asked_of_tpu(run)["zone"], "a-zone", **TPU),
    row("gcp_project", "a-project", lambda run: asked_of_tpu(run)["project"], "a-project", **TPU),
]
STUDENT = {"train_mode": "distill", "teacher": "{folders}/trained"}
DISTILLATION = [
    row("teacher", "{folders}/other", taught, in_checkpoint_of_teacher, **STUDENT, instead="{folders}/trained"),
    row("distill_temperature", 2.0, distilled("train/distill_loss"), distilled_by_hand(2.0), **STUDENT),
    row("distill_alpha", 0.25, distilled("objective"), weighed_by_hand(0.25), **STUDENT),
    row("ema_decay", 0.1, averaged_share, 0.9, **TUNED),
]
# What flags of images, views and losses reach is the same code beside either TensorFlow, and has tests there itself.
ALONE = [*DATA, *AUGMENTATION, *LOSS]
ROWS = [*ALONE, *MODEL, *OPTIMIZER, *TRAIN, *DISTILLATION, *WRITTEN, *RUNTIME]
CASES = [pytest.param(row, marks=pytest.mark.python_alone) for row in ALONE] + ROWS[len(ALONE) :]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of images, a checkpoint to fine-tune from, and another."""
    root = tmp_path_factory.mktemp("folders")
    write_folders(root)
    write_small_checkpoint(root / "trained")
    write_small_checkpoint(root / "other", seed=12)
    return root


@pytest.fixture
def given(folders):
    """Makes a Given of values in which {folders} is the directory of that fixture."""
    make = shared(Given)

    def placed(value):
        return value.replace("{folders}", str(folders)) if isinstance(value, str) else value

    return lambda **values: make(**{name: placed(value) for name, value in values.items()})


@pytest.mark.parametrize("row", CASES, ids=str)
def test_a_flag_does_what_its_row_says(row, given):
    check(row, given)


def test_every_flag_has_a_row():
    require_rows("train", ROWS)
