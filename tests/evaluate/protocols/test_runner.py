"""Every protocol on a small network: what is found, what stays untouched, what is kept and taken up again."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from tests import networks as networks_module
from tests.networks import small_networks, write_run
from tf_simclr import compat
from tf_simclr.config import DataConfig, ProtocolConfig, RuntimeConfig
from tf_simclr.errors import InputError, StoppedError
from tf_simclr.evaluate import features as features_module
from tf_simclr.evaluate import load as trained_module
from tf_simclr.evaluate.features import cached_features, model_digest
from tf_simclr.evaluate.load import load_trained, read_config
from tf_simclr.evaluate.measures.linear import PROBE
from tf_simclr.evaluate.measures.scikit_learn import sklearn_c
from tf_simclr.evaluate.measures.twins import find_twins
from tf_simclr.evaluate.protocols import runner as runner_module
from tf_simclr.evaluate.protocols.context import EvaluationContext, open_splits
from tf_simclr.evaluate.protocols.plan import plan
from tf_simclr.evaluate.protocols.runner import Runner
from tf_simclr.evaluate.record_store import RecordStore
from tf_simclr.evaluate.records import PRETRAINED, SCRATCH, UNTRAINED
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.observers import Progress

FLAGS = {
    "dataset": "shapes",
    "image_size": 16,
    "resnet_depth": 10,
    "width_multiplier": 0.125,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
    "train_batch_size": 16,
    "use_blur": False,
}
STEP = 3
QUICK = {
    "knn_k": "5",
    "linear_epochs": 2.0,
    "linear_learning_rate": 0.01,
    "finetune_epochs": 1.0,
    "supervised_epochs": 1.0,
    "grid_learning_rates": "0.01",
    "grid_weight_decays": "0,0.001",
    "grid_steps": 2,
    # Strong ones: this network's features reach thousands, and a fit that has not converged says little.
    "logreg_strengths": "1e6,1e5",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Directory of a run whose values are those of a network that was trained a little: nowhere as initialised."""
    return write_run(tmp_path_factory.mktemp("run"), FLAGS, STEP)


class Silent:
    """A reporter that keeps the lines."""

    def __init__(self):
        self.lines, self.trained = [], []

    def say(self, line):
        self.lines.append(line)

    @contextlib.contextmanager
    def counting(self, what):
        yield lambda done, total: None

    @contextlib.contextmanager
    def training(self, directory, config, classes):
        self.trained.append(directory)
        yield self

    def on_progress(self, progress: Progress):
        pass

    def on_window(self, step, metrics):
        pass


def context_of(checkpoint, directory, strategy=None, data=None, **settings):
    origin, prefix = read_config(str(checkpoint))
    images = {"train_split": "train[:120]", "eval_split": "test[:60]", "eval_batch_size": 32, "image_size": 16}
    data = DataConfig(dataset="shapes", **(images | (data or {})))
    protocols = ProtocolConfig(checkpoint=str(checkpoint), **(QUICK | settings))
    protocols.validate()
    return EvaluationContext(
        protocols=protocols,
        data=data,
        runtime=RuntimeConfig(model_dir=str(directory)),
        origin=origin,
        prefix=prefix,
        pictures_seen=STEP * 16,
        splits=open_splits(data, protocols.validation_split),
        strategy=strategy or tf.distribute.OneDeviceStrategy("CPU:0"),
        stop=StopRequest(),
        reporter=Silent(),
    )


ONE_IMAGE = np.random.default_rng(0).normal(size=(1, 776)).astype(np.float32)
EVERYTHING = "health,knn,linear_cached,logreg,linear,finetune_3per_class,finetune_grid,supervised,untrained"


@pytest.fixture(scope="module")
def everything(checkpoint, tmp_path_factory):
    """All protocols on one checkpoint: the context, its records, and the bytes of the checkpoint's files before."""
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    context = context_of(checkpoint, tmp_path_factory.mktemp("evaluated"), protocols=EVERYTHING)
    run = Runner(context)
    digest = model_digest(load_trained(str(checkpoint)).model)
    assert run.digest == digest
    records, failed = run.run()
    assert failed == []
    return context, records, before, run


def test_every_protocol_finds_something(everything):
    context, records, _, _ = everything
    found = [(record.protocol, record.encoder) for record in records]
    assert found == [
        *((name, PRETRAINED) for name in ("health", "knn", "linear_cached", "logreg", "linear")),
        *((name, UNTRAINED) for name in ("health", "knn", "linear_cached", "logreg", "linear")),
        ("finetune_3per_class", PRETRAINED),
        ("finetune_grid", PRETRAINED),
        ("supervised", SCRATCH),
    ]
    for record in records:
        assert record.seconds > 0
        if record.protocol != "health":
            assert np.sum(record.confusion) == context.splits.test.num_examples
            assert record.metrics["top_1"] == np.trace(record.confusion) / np.sum(record.confusion)
            assert record.metrics["mean_per_class"] == pytest.approx(np.mean(record.per_class))


def test_no_protocol_changes_the_encoder(everything, checkpoint):
    _, _, before, run = everything
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    # The networks in memory served the frozen protocols; every weight and moving statistic is what was read.
    model = run.networks(PRETRAINED, None).model
    assert model_digest(model) == run.digest


@pytest.mark.parametrize("protocol", ["knn", "linear_cached", "logreg", "health"])
def test_no_frozen_protocol_changes_a_bit_in_memory(checkpoint, tmp_path, protocol):
    run = Runner(context_of(checkpoint, tmp_path, protocols=protocol))
    model = run.networks(PRETRAINED, None).model
    before = {path: compat.raw_variable(v).numpy() for path, v in model.named_variables().items()}
    run.run()
    assert run.networks(PRETRAINED, None).model is model
    for path, variable in model.named_variables().items():
        np.testing.assert_array_equal(compat.raw_variable(variable), before[path], err_msg=path)


def test_linear_evaluation_leaves_the_encoder_of_its_own_network_alone(everything, checkpoint):
    """Its checkpoint holds the encoder it trained the classifier on, moving statistics too: those that were read."""
    context, _, _, _ = everything
    directory = next(d for d in context.reporter.trained if "linear-" in d)
    reader, origin = (tf.train.load_checkpoint(tf.train.latest_checkpoint(str(d))) for d in (directory, checkpoint))
    names = [name for name in reader.get_variable_to_shape_map() if "variables/encoder" in name]
    assert sum("moving" in name for name in names) > 10
    for name in names:
        np.testing.assert_array_equal(reader.get_tensor(name), origin.get_tensor(name), err_msg=name)
    head = next(n for n in reader.get_variable_to_shape_map() if "supervised_head" in n and "kernel" in n)
    assert np.any(reader.get_tensor(head))  # it starts from zeros, and was trained


def test_fine_tuning_does_change_the_network(everything, checkpoint):
    context, _, _, _ = everything
    directory = next(d for d in context.reporter.trained if "finetune_3per_class" in d)
    reader, origin = (tf.train.load_checkpoint(tf.train.latest_checkpoint(str(d))) for d in (directory, checkpoint))
    name = next(n for n in origin.get_variable_to_shape_map() if "encoder" in n and "stem" in n and "kernel" in n)
    assert np.any(reader.get_tensor(name) != origin.get_tensor(name))


def test_knn_and_logreg_are_scikit_learns(everything):
    context, records, _, run = everything
    directory = f"{context.runtime.directory}/features"
    model = run.networks(PRETRAINED, None).model
    train, test = (
        cached_features(model, source, directory, context.loader, say=lambda line: None)["final_avg_pool"]
        for source in (context.splits.train, context.splits.test)
    )
    unit = [f.features / np.linalg.norm(f.features, axis=1, keepdims=True) for f in (train, test)]
    distances, rows = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(unit[0]).kneighbors(unit[1])
    votes = np.zeros((len(rows), 10))
    for query, (distance, row) in enumerate(zip(distances, rows, strict=True)):
        np.add.at(votes[query], train.labels[row], np.exp((1 - distance**2 / 2) / 0.1))
    knn = next(record for record in records if (record.protocol, record.encoder) == ("knn", PRETRAINED))
    assert knn.metrics["top_1"] == np.mean(votes.argmax(axis=1) == test.labels)
    logreg = next(record for record in records if (record.protocol, record.encoder) == ("logreg", PRETRAINED))
    assert logreg.details["converged"]
    theirs = LogisticRegression(C=sklearn_c(logreg.details["l2"], 10), max_iter=2000, tol=1e-6)
    theirs.fit(np.float64(train.features), train.labels)
    assert logreg.metrics["top_1"] == pytest.approx(theirs.score(np.float64(test.features), test.labels), abs=1e-3)


def test_what_was_done_is_kept(everything, monkeypatch):
    context, records, _, _ = everything
    ran = []
    monkeypatch.setattr(Runner, "_run", lambda self, planned: ran.append(planned) or [])
    again, failed = Runner(context).run()
    assert (again, failed, ran) == (records, [], [])


def test_only_what_changed_is_done_again(everything, monkeypatch):
    context, _, _, _ = everything
    other = dataclasses.replace(context, protocols=dataclasses.replace(context.protocols, knn_k="3", eval_seeds="0,7"))
    ran = []
    monkeypatch.setattr(Runner, "_run", lambda self, planned: ran.append(planned) or [])
    monkeypatch.setattr(RecordStore, "write", lambda self, name, identity, records: None)
    Runner(other).run()
    assert {planned.protocol for planned in ran if planned.seed in (None, 0)} == {"knn"}
    assert sum(planned.seed == 7 for planned in ran) == 11


def with_context(run, context):
    """The same runner, and its networks, on something else."""
    other = copy.copy(run)
    other._context, other._images = context, None
    return other


def names_of(run):
    """Under which names its results are kept."""
    return {run._name(planned) for planned in plan(run._context)}


def test_another_linear_probe_is_another_result(everything, monkeypatch):
    """What it is says nothing of it in flags: a result of features as they are must not be taken for one of now."""
    run = everything[3]
    before = names_of(run)
    monkeypatch.setattr("tf_simclr.evaluate.protocols.identity.PROBE", PROBE | {"standardise": False})
    changed = before - names_of(run)
    assert changed and all(name.startswith("linear_cached") for name in changed)


def test_another_weight_decay_in_the_loss_is_another_result(everything, monkeypatch):
    """Of those that have one: it once counted kernels with a bias twice."""
    run = everything[3]
    before = names_of(run)
    monkeypatch.setattr("tf_simclr.evaluate.protocols.identity.DECAY", "another")
    changed = before - names_of(run)
    assert {name.partition("-")[0] for name in changed} == {"supervised", "finetune_grid"}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"train_batch_size": 32}, lambda planned: planned.protocol == "health"),
        # "auto" is the stem for small images then, and was not before; a checkpoint's own values know theirs.
        ({"image_size": 64}, lambda planned: planned.encoder != PRETRAINED),
        ({"eval_batch_size": 64}, lambda planned: False),
    ],
    ids=["batch", "stem", "nothing"],
)
def test_a_run_with_other_views_or_another_stem_has_other_results(everything, change, changed):
    """Two runs may be evaluated into one directory: neither gets what was measured of the other."""
    context, _, _, run = everything
    assert context.origin.model.stem == "auto" and context.origin.data.image_size <= 32
    data = dataclasses.replace(context.origin.data, **change)
    other = with_context(run, dataclasses.replace(context, origin=dataclasses.replace(context.origin, data=data)))
    for planned in plan(context):
        assert (run._name(planned) != other._name(planned)) == changed(planned), planned.title


CHANGES = [
    ("test", {"fingerprint": "b"}),
    ("train", {"fingerprint": "b"}),
    ("test", {"location": "/elsewhere"}),
    ("train", {"location": "/elsewhere"}),
    ("test", {"class_names": tuple("badcefghij")}),
]


@pytest.mark.parametrize(("role", "change"), CHANGES, ids=lambda value: str(value)[:30])
def test_other_files_are_other_results(everything, monkeypatch, role, change):
    """Features, records, trainings and twins: none of them is taken for that of other images."""
    context, _, _, run = everything
    source = dataclasses.replace(getattr(context.splits, role), **change)
    other = with_context(
        run, dataclasses.replace(context, splits=dataclasses.replace(context.splits, **{role: source}))
    )
    names = names_of(run), names_of(other)
    assert not names[0] & names[1] and len(names[0]) == len(names[1])
    ran, compared = [], []
    monkeypatch.setattr(Runner, "_run", lambda self, planned: ran.append(planned) or [])
    monkeypatch.setattr(Runner, "_compared", lambda self, todo: compared.append(todo) or find_twins(*[ONE_IMAGE] * 2))
    for writes in ("write", "write_arrays"):
        monkeypatch.setattr(RecordStore, writes, lambda self, *values: None)
    other.run()
    assert len(ran) == len(plan(context)) and len(compared) == 1


@pytest.mark.parametrize("reading", [{"eval_crop": 0.5}, {"data_seed": 3}])
def test_images_that_are_read_in_another_way_are_other_results(everything, reading):
    context, _, _, run = everything

    def names_with(**changes):
        return names_of(
            with_context(run, dataclasses.replace(context, data=dataclasses.replace(context.data, **changes)))
        )

    assert not names_with(**reading) & names_of(run)
    assert names_with(eval_batch_size=8, cache_dataset=True) == names_of(run)


def test_every_protocol_that_predicts_keeps_what_it_said_of_every_image(everything):
    context, records, _, run = everything
    labels = run.images.labels
    for record in records:
        if record.protocol == "health":
            assert record.predicted is None
            continue
        assert np.mean(record.predicted.classes == labels) == record.metrics["top_1"]
        assert record.predicted.probabilities.shape == labels.shape
        assert (record.predicted.probabilities > 0).all() and (record.predicted.probabilities <= 1).all()
        low, high = record.intervals["top_1"]
        assert low <= record.metrics["top_1"] <= high
    again, _ = Runner(context).run()
    for record, kept in zip(records, again, strict=True):
        if record.predicted is not None:
            np.testing.assert_array_equal(record.predicted.classes, kept.predicted.classes)
            np.testing.assert_array_equal(record.predicted.probabilities, kept.predicted.probabilities)


def test_thumbnails_come_with_the_features_in_one_pass(everything):
    context, _, _, run = everything
    passes = [line for line in context.reporter.lines if line.startswith("computing")]
    assert [line.split(" of ")[0] for line in passes[:2]] == ["computing final_avg_pool, thumbnails"] * 2
    assert sum("thumbnail" in line for line in passes) == 2
    assert run.images.twins is not None and not run.images.twins.found.any()


def test_features_are_opened_once_for_all_protocols(checkpoint, tmp_path, monkeypatch):
    """To open them is to hash them."""
    opened, real = [], features_module.open_features
    monkeypatch.setattr(
        features_module, "open_features", lambda directory, key: opened.append(key) or real(directory, key)
    )
    protocols = "health,knn,linear_cached,logreg,untrained"
    settings = {"protocols": protocols, "eval_seeds": "0,1", "endpoints": "final_avg_pool,proj_head_output"}
    _, failed = Runner(context_of(checkpoint, tmp_path, find_twins=False, **settings)).run()
    # Before they are there, and once more when they were computed: 3 encoders, 2 splits, 2 endpoints.
    assert not failed and len(opened) == 2 * 12 and len(set(opened)) == 12


def test_twins_are_not_looked_for_where_nothing_is_predicted(checkpoint, tmp_path):
    for settings in ({"protocols": "health"}, {"protocols": "knn", "find_twins": False}):
        context = context_of(checkpoint, tmp_path, **settings)
        Runner(context).run()
        assert not [line for line in context.reporter.lines if "thumbnail" in line or "twins" in line]


def test_knn_takes_all_training_images_where_there_are_fewer(checkpoint, tmp_path):
    context = context_of(checkpoint, tmp_path, protocols="knn", knn_k="500,120,5,200", find_twins=False)
    records, failed = Runner(context).run()
    assert [record.setting for record in records] == ["k=120, T=0.1", "k=5, T=0.1"] and not failed
    assert "note: kNN takes k = 120, all training images, in place of 500, 200" in context.reporter.lines


def test_the_chosen_labels_are_written(everything):
    context, _, _, _ = everything
    directory = next(d for d in context.reporter.trained if "finetune_3per_class" in d)
    with open(f"{directory}/chosen.json") as file:
        chosen = json.load(file)["chosen"]
    assert np.bincount([entry["label"] for entry in chosen]).tolist() == [3] * 10


def test_the_grid_keeps_its_points_and_takes_the_best(everything):
    _, records, _, _ = everything
    details = next(record for record in records if record.protocol == "finetune_grid").details
    assert [(p["learning_rate"], p["weight_decay"]) for p in details["grid"]] == [(0.01, 0.0), (0.01, 0.001)]
    assert details["chosen"]["validation"] == max(p["validation"] for p in details["grid"])
    assert details["pictures"] == 120  # trained once more on all of them
    assert details["weight_decay"] == details["chosen"]["weight_decay"]


@pytest.mark.parametrize(
    ("name", "pretrained", "epochs", "rate", "decay", "batch"),
    [
        ("finetune_10pct", True, 30.0, 0.05, 0.0, 15),  # a quarter of 60 images
        ("finetune_1pct", True, 60.0, 0.05, 0.0, 2),
        ("finetune", True, 30.0, 0.05, 0.0, 150),
        ("supervised_10pct", False, 48 / 60, 0.1, 1e-4, 15),
        ("supervised", False, 48 / 600, 0.1, 1e-4, 150),
    ],
)
def test_settings_are_the_papers(checkpoint, tmp_path, monkeypatch, name, pretrained, epochs, rate, decay, batch):
    """SimCLR, Appendix B.5; from scratch as many images as the pretraining saw: 3 steps of 16."""
    # 600 images of few classes: 1% of them is one of each.
    context = context_of(
        checkpoint,
        tmp_path,
        data={"train_split": "train[:600]"},
        protocols=name,
        finetune_epochs=0.0,
        supervised_epochs=0.0,
    )
    if name == "finetune_1pct":
        context = dataclasses.replace(
            context, protocols=dataclasses.replace(context.protocols, protocols="finetune_1per_class")
        )
    seen = {}

    def record(context, training, directory, begin):
        seen["training"] = training
        seen["config"] = runner_module.whole_network.training_config(context, training, directory)
        raise InputError("far enough")

    monkeypatch.setattr(runner_module.whole_network, "trained_model", record)
    Runner(context).run()
    config = seen["config"]
    assert seen["training"].pretrained == pretrained
    assert (config.train.checkpoint is not None) == pretrained
    assert config.train.train_mode == "finetune"
    assert config.train.train_epochs == pytest.approx(30.0 if name == "finetune_1pct" else epochs)
    assert config.optimizer.optimizer == "momentum"
    assert config.optimizer.learning_rate == rate
    assert config.optimizer.weight_decay == decay
    assert config.data.train_batch_size == batch
    assert config.optimizer.peak_learning_rate(batch) == pytest.approx(rate * batch / 256)


def test_a_protocol_that_fails_leaves_the_others(checkpoint, tmp_path):
    context = context_of(checkpoint, tmp_path, protocols="linear_cached,knn", linear_learning_rate=3e38)
    records, failed = Runner(context).run()
    assert [record.protocol for record in records] == ["knn"]
    assert len(failed) == 1
    assert "linear_cached" in failed[0]
    assert "diverged" in failed[0]


def test_a_grid_point_whose_last_update_diverges_is_not_the_best(checkpoint, tmp_path):
    """The loss before the update is finite: only what the network says of images shows it."""
    context = context_of(
        checkpoint,
        tmp_path,
        protocols="finetune_grid",
        grid_learning_rates="1e38,0.01",
        grid_weight_decays="0",
        grid_steps=1,
    )
    records, failed = Runner(context).run()
    assert failed == [] and records[0].details["chosen"]["learning_rate"] == 0.01
    assert [point["validation"] is None for point in records[0].details["grid"]] == [True, False]
    assert any("not finite" in line for line in context.reporter.lines)


def test_stopping_and_going_on(everything, checkpoint, tmp_path):
    _, whole, _, _ = everything
    stopping = context_of(checkpoint, tmp_path / "stopped", protocols="knn,linear_cached,finetune_3per_class")
    stopping.stop.signal_name = "SIGTERM"
    done = []
    for _ in range(3):  # the stop comes after each protocol; the training is stopped before its first step
        with pytest.raises(StoppedError):
            Runner(stopping).run()
        done.append(len(list((tmp_path / "stopped" / "cells").glob("*.json"))))
    assert done == [1, 2, 2]
    stopping.stop.signal_name = None
    records, _ = Runner(stopping).run()
    uninterrupted = [
        record
        for record in whole
        if record.encoder == PRETRAINED and record.protocol in stopping.protocols.protocol_names
    ]
    assert len(records) == 3
    for record, other in zip(records, uninterrupted, strict=True):
        assert dataclasses.replace(record, seconds=0.0) == dataclasses.replace(other, seconds=0.0)


def test_replicas_find_the_same(tmp_path, mirrored, monkeypatch):
    for module in (networks_module, trained_module):
        monkeypatch.setattr(module, "build_networks", small_networks)
    checkpoint = write_run(tmp_path / "run", FLAGS, STEP)
    settings = {"protocols": "health,knn,linear_cached", "endpoints": "proj_head_output"}
    one, two = (
        Runner(context_of(checkpoint, tmp_path / name, strategy, **settings)).run()[0]
        for name, strategy in (("one", None), ("two", mirrored(2)))
    )
    assert len(one) == len(two) == 3
    for first, second in zip(one, two, strict=True):
        assert first.endpoint == second.endpoint
        assert first.metrics == pytest.approx(second.metrics, rel=1e-4, abs=1e-5)


def test_the_untrained_encoder_is_its_seeds(checkpoint, tmp_path):
    run = Runner(context_of(checkpoint, tmp_path, protocols="knn,untrained"))
    first = run.networks(UNTRAINED, 1).digest
    assert run.networks(UNTRAINED, 2).digest != first
    assert run.networks(UNTRAINED, 1).digest == first
    assert model_digest(run.networks(PRETRAINED, None).model) == run.digest


def test_a_validation_split_makes_logreg_seedless_and_is_used(checkpoint, tmp_path):
    context = context_of(
        checkpoint, tmp_path, protocols="logreg,knn", validation_split="validation[:40]", eval_seeds="0,1"
    )
    assert [planned.seed for planned in plan(context)] == [None, None]
    both = context.train_and_validation()
    assert both.num_examples == 160
    records, _ = Runner(context).run()
    assert {record.seed for record in records} == {None}


def test_seeds_are_runs_of_their_own(checkpoint, tmp_path):
    context = context_of(checkpoint, tmp_path, protocols="linear_cached,finetune_25pct,untrained", eval_seeds="4,5")
    assert [(p.protocol, p.encoder, p.seed) for p in plan(context)] == [
        ("linear_cached", PRETRAINED, 4),
        ("linear_cached", PRETRAINED, 5),
        ("linear_cached", UNTRAINED, 4),
        ("linear_cached", UNTRAINED, 5),
        ("finetune_25pct", PRETRAINED, 4),
        ("finetune_25pct", PRETRAINED, 5),
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocols": "knn", "endpoints": "block_group9"}, "`endpoints` must be one of"),
        ({"protocols": "linear", "endpoints": "block_group2"}, "Use linear_cached"),
        ({"protocols": "finetune_1pct"}, "none of"),
        ({"protocols": "finetune_50per_class"}, "per_class"),
    ],
)
def test_bad_input_is_found_before_the_work(checkpoint, tmp_path, settings, words):
    context = context_of(checkpoint, tmp_path, **settings)
    with pytest.raises(InputError, match="Received") as caught:
        Runner(context)
    assert words in str(caught.value)
    assert not (tmp_path / "cells").exists()
