"""Every flag of `evaluate`, and what it changes in what is evaluated, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wiring.evaluations import (
    Evaluation,
    asked_of_linear_cached,
    chosen_by,
    detail_of_logreg,
    how_images_are_seen,
    input_worker_missed,
    looks_for_twins,
    neighbours,
    place_of_features,
    planned,
    points_of_grid,
    seed_of_features,
    training,
    write_runs,
)
from tests.wiring.given import check, require_rows, row, shared
from tests.wiring.images import held_out, held_out_by, images_of, refused, write_folders
from tests.wiring.runs import asked_of_tpu, chosen, cpu_refused
from tf_simclr.data.datasets import load_sources

PLACE = {"data_dir": "{root}/plain", "train_split": "train", "eval_split": "test"}
FOLDER = {"dataset": "folder", **PLACE}
SPLIT = {"dataset": "folder", "train_split": "train[:90%]", "eval_split": "train[90%:]"}
TPU = {"tpu_name": "here"}


def images_with_seed(seed):
    train, test = load_sources("shapes", train_split="train[:60]", eval_split="test[:30]", seed=seed)
    return images_of(train), images_of(test)


def folder_of(run):
    return Path(run.data.train.location).name


def all_images(run):
    return images_of(run.data.train), images_of(run.data.test)


def images_in_all(run):
    return run.data.train.num_examples + run.data.test.num_examples


def seen(size=16, batch=10, crop=1.0):
    """The same for frozen protocols and for networks that are trained with labels."""
    return [(size, batch, crop)] * 2


GRID = {"grid_learning_rates": "0.01,0.02", "grid_weight_decays": "0,0.001"}
PROTOCOLS = [
    row("checkpoint", "{root}/run", lambda run: Path(run.prefix).parent.name, "run", instead="{root}/other"),
    row("protocols", "linear,knn", planned("protocol"), ["knn", "linear"]),
    row("endpoints", "block_group3,final_avg_pool", planned("endpoint"), ["block_group3", "final_avg_pool"]),
    row("eval_seeds", "3,5", planned("seed"), [3, 5], protocols="linear_cached"),
    row("metric", "mean_per_class", chosen_by, 0.5),
    row("validation_split", "test[30:45]", lambda run: getattr(run.data.validation, "num_examples", 0), 15),
    row("knn_k", "3,7", neighbours, ["k=3, T=0.1", "k=7, T=0.1"]),
    row("knn_temperature", "0.5", neighbours, ["k=60, T=0.5"]),
    row("logreg_iterations", 2, detail_of_logreg("iterations"), 2, logreg_strengths="1"),
    row("logreg_strengths", "10,1", detail_of_logreg("strengths_tried"), 2, logreg_iterations=5),
    row("linear_epochs", 4.0, asked_of_linear_cached("epochs"), 4.0),
    row("linear_epochs", 4.0, training("linear", "train", "train_epochs"), 4.0),
    row("linear_batch_size", 7, asked_of_linear_cached("batch_size"), 7, linear_epochs=1.0),
    row("linear_learning_rate", 0.03, asked_of_linear_cached("learning_rate"), 0.03, linear_epochs=1.0),
    row("linear_learning_rate", 0.03, training("linear", "optimizer", "learning_rate"), 0.03),
    row("finetune_epochs", 5.0, training("finetune", "train", "train_epochs"), 5.0),
    row("finetune_batch_size", 6, training("finetune", "data", "train_batch_size"), 6),
    row("finetune_batch_size", 6, training("linear", "data", "train_batch_size"), 6),
    row("finetune_learning_rate", 0.03, training("finetune", "optimizer", "learning_rate"), 0.03),
    row("supervised_epochs", 5.0, training("supervised", "train", "train_epochs"), 5.0),
    # A twentieth of the training.
    row("supervised_epochs", 5.0, training("supervised", "optimizer", "warmup_epochs"), 0.25),
    row("supervised_learning_rate", 0.03, training("supervised", "optimizer", "learning_rate"), 0.03),
    row("supervised_weight_decay", 0.02, training("supervised", "optimizer", "weight_decay"), 0.02),
    row("grid_learning_rates", "0.01,0.02", points_of_grid, [(0.01, 0.0), (0.02, 0.0)], grid_weight_decays="0"),
    row("grid_weight_decays", "0,0.3", points_of_grid, [(0.01, 0.0), (0.01, 0.3)], grid_learning_rates="0.01"),
    row("grid_steps", 12, training("grid", "train", "train_steps"), 12, **GRID),
    row("find_twins", False, looks_for_twins, False),
    row("feature_dir", "{root}/kept", lambda run: Path(place_of_features(run)).name, "kept"),
]
DATA = [
    row("dataset", "folder", lambda run: run.data.train.class_names, ("cat", "dog"), **PLACE, instead="shapes"),
    row("data_dir", "{root}/whole", folder_of, "whole", **SPLIT, instead="{root}/formats"),
    row("train_split", "train[:40]", lambda run: run.data.train.num_examples, 40),
    row("eval_split", "test[:20]", lambda run: run.data.test.num_examples, 20),
    row("image_size", 24, how_images_are_seen, seen(size=24)),
    row("image_size", 24, training("finetune", "data", "image_size"), 24),
    row("eval_batch_size", 15, how_images_are_seen, seen(batch=15)),
    row("eval_crop", 0.5, how_images_are_seen, seen(crop=0.5)),
    row("data_seed", 5, all_images, lambda run: images_with_seed(5)),
    row("data_seed", 5, seed_of_features, 5),
    row("cache_dataset", True, training("finetune", "data", "cache_dataset"), True),
    row("labels", "{root}/labels.csv", lambda run: run.data.train.class_names, ("bird", "fish"), **FOLDER),
    row("hold_out_by", "count", held_out, held_out_by("count"), **FOLDER),
    row("decoder", "tensorflow", refused, True, **SPLIT, data_dir="{root}/formats"),
    row("on_bad_image", "skip", images_in_all, 120, **SPLIT, data_dir="{root}/damaged"),
    row("max_image_pixels", 2**24, refused, True, **SPLIT, data_dir="{root}/large"),
]
RUNTIME = [
    row("model_dir", "somewhere/else", lambda run: run.context.runtime.directory, "somewhere/else"),
    row("precision", "bfloat16", training("finetune", "runtime", "precision"), "bfloat16"),
    row("augment_on", "device", training("finetune", "runtime", "augment_on"), "device"),
    row("augment_on", "device", training("linear", "runtime", "augment_on"), "device"),
    row("input_workers", "grpc://localhost:1", input_worker_missed, "grpc://localhost:1"),
    row("strategy", "mirrored", chosen, ("mirrored", "--strategy=mirrored")),
    row("strategy", "mirrored", lambda run: run.context.strategy.num_replicas_in_sync, 4, eval_batch_size=12),
    row("cpu_devices", 4, chosen, ("mirrored", "--cpu_devices=4")),
    row("cpu_devices", 3, cpu_refused, True),
    row("use_tpu", True, chosen, ("tpu", "--use_tpu asks for a TPU")),
    row("tpu_name", "mine", lambda run: asked_of_tpu(run)["tpu"], "mine"),
    row("master", "grpc://host", lambda run: asked_of_tpu(run)["tpu"], "grpc://host"),
    row("tpu_zone", "a-zone", lambda run: asked_of_tpu(run)["zone"], "a-zone", **TPU),
    row("gcp_project", "a-project", lambda run: asked_of_tpu(run)["project"], "a-project", **TPU),
]
ROWS = [*PROTOCOLS, *DATA, *RUNTIME]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Makes an Evaluation of values in which {root} is a directory with two runs and some folders of images."""
    root = tmp_path_factory.mktemp("evaluate")
    write_folders(root)
    write_runs(root)
    make = shared(Evaluation)

    def placed(value):
        return value.replace("{root}", str(root)) if isinstance(value, str) else value

    return lambda **values: make(
        **{name: placed(value) for name, value in ({"checkpoint": "{root}/run"} | values).items()}
    )


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_flag_does_what_its_row_says(row, given):
    check(row, given)


def test_every_flag_has_a_row():
    require_rows("evaluate", ROWS)
