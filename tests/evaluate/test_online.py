"""Online evaluation: the figures of kNN and of a linear classifier on h, again and again, without touching the run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import small_networks
from tf_simclr import compat
from tf_simclr.cli.online import OnlineWatch, knn_at_the_end, knn_line
from tf_simclr.config import build_config
from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import InputError
from tf_simclr.evaluate import online as online_module
from tf_simclr.evaluate.batches import EvalLoader
from tf_simclr.evaluate.features import cached_features
from tf_simclr.evaluate.measures.knn import knn_accuracies
from tf_simclr.evaluate.measures.linear import linear_probe
from tf_simclr.evaluate.online import KNN_TOP_1, LINEAR_TOP_1, OnlineEvaluation, plan_at_the_end, plan_online
from tf_simclr.train.build import Data
from tf_simclr.train.observers import Observer
from tf_simclr.train.summaries import SummaryWriter

SIDE, GALLERY = 16, 60
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")
TRAIN, TEST = shapes_source("train[:90]", side=SIDE), shapes_source("test[:22]", side=SIDE)


def config_of(**values):
    defaults = {"dataset": "shapes", "image_size": SIDE, "eval_batch_size": 8, "eval_every_epochs": 1.0}
    return build_config(defaults | {"online_eval_examples": GALLERY} | values)


def plan_of(**values):
    return plan_online(config_of(**values), TRAIN, TEST)


def model_on(strategy, seed=0):
    """The same values on any number of devices."""
    with strategy.scope():
        model = small_networks(config_of(), num_classes=10)
    generator = np.random.default_rng(seed)
    for variable in model.named_variables().values():
        variable.assign(generator.uniform(-0.3, 0.5, variable.shape).astype(np.float32) ** 2 + 0.05)
    return model


def values_of(model):
    return {name: compat.raw_variable(v).numpy().tobytes() for name, v in model.named_variables().items()}


def tags_in(directory):
    found = {}
    for file in directory.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


@pytest.mark.parametrize("k", [3, GALLERY])
def test_the_figures_are_those_of_stored_features(tmp_path, monkeypatch, k):
    monkeypatch.setattr(online_module, "K", k)
    plan, model = plan_of(), model_on(ONE_DEVICE)
    evaluation = OnlineEvaluation(plan, model, ONE_DEVICE)
    figures = evaluation.figures(*evaluation.features())
    gallery, queries = (
        cached_features(model, source, str(tmp_path), EvalLoader(ONE_DEVICE, 8, SIDE), say=lambda line: None)[
            "final_avg_pool"
        ]
        for source in (plan.gallery, TEST)
    )
    assert len(gallery.labels) == GALLERY and len(queries.labels) == 22
    knn = knn_accuracies(queries.features, queries.labels, gallery.features, gallery.labels, ks=[k], temperatures=[0.1])
    classifier = linear_probe(gallery.features, gallery.labels, 10, epochs=20, batch_size=GALLERY, seed=0)
    linear = np.mean(classifier.logits(queries.features).argmax(axis=1) == queries.labels)
    assert figures == {KNN_TOP_1: knn[k, 0.1], LINEAR_TOP_1: linear}


def test_nothing_changes_and_one_trace_follows_the_model(monkeypatch):
    functions, build = [], online_module.build_extract
    monkeypatch.setattr(online_module, "build_extract", lambda *args: functions.append(build(*args)) or functions[-1])
    model = model_on(ONE_DEVICE)
    evaluation = OnlineEvaluation(plan_of(), model, ONE_DEVICE)
    before, first = values_of(model), evaluation.features()
    assert values_of(model) == before
    again = evaluation.features()
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.h, two.h)
    model.named_variables()["encoder/stem_conv/kernel"].assign_add(
        0.1 * tf.ones_like(compat.raw_variable(model.named_variables()["encoder/stem_conv/kernel"]))
    )
    changed = evaluation.features()
    assert min(np.abs(one.h - two.h).max() for one, two in zip(first, changed, strict=True)) > 1e-3
    assert [function.experimental_get_tracing_count() for function in functions] == [1]


def test_the_number_of_replicas_does_not_matter(mirrored):
    found = []
    for strategy in (ONE_DEVICE, mirrored(2)):
        model = model_on(strategy)
        before, evaluation = values_of(model), OnlineEvaluation(plan_of(), model, strategy)
        gallery, queries = evaluation.features()
        assert values_of(model) == before
        found.append((gallery, queries, evaluation.figures(gallery, queries)))
    for one, two in zip(found[0][:2], found[1][:2], strict=True):
        np.testing.assert_allclose(one.h, two.h, atol=1e-5)
        np.testing.assert_array_equal(one.labels, two.labels)
    assert found[0][2] == found[1][2]


def test_the_gallery_is_a_fixed_choice():
    def images(plan):
        return [record["index"].item() for record in plan.gallery.records(None).as_numpy_iterator()]

    assert images(plan_of()) == images(plan_of(seed=5)) != images(plan_of(data_seed=5))
    assert set(images(plan_of(online_eval_examples=20))) < set(images(plan_of()))
    assert images(plan_of(online_eval_examples=1000)) == list(range(90))


def test_k_is_the_gallery_s_size_where_that_is_smaller():
    assert plan_of().k == GALLERY
    assert "every 7 steps and at the end: kNN (k = 60 in place of 200, the size of the" in plan_of().describe(7)
    large = dataclasses.replace(plan_of(), gallery=shapes_source("train[:201]", side=SIDE))
    assert large.k == 200 and "every step and at the end: kNN (k = 200; T = 0.1)" in large.describe(1)


def unlabelled(source, classes):
    return dataclasses.replace(source, num_classes=classes, class_names=source.class_names[:classes])


@pytest.mark.parametrize(
    ("train", "evaluation", "message"),
    [
        (unlabelled(TRAIN, 0), None, r"needs labels of two.*dataset=shapes with no labels\. Sort the images"),
        (unlabelled(TRAIN, 1), TEST, "with one class only"),
        (TRAIN, None, "needs labels in an evaluation split"),
        (TRAIN, unlabelled(TEST, 0), "needs labels in an evaluation split"),
    ],
)
def test_what_it_needs_is_said_in_one_line(train, evaluation, message):
    with pytest.raises(InputError, match=f"--eval_every_epochs {message}" if message[0] == "n" else message) as caught:
        plan_online(config_of(), train, evaluation)
    assert "\n" not in str(caught.value) and "Received: eval_every_epochs=1" in str(caught.value)


def test_a_plan_for_the_end_of_a_run_needs_labels_and_a_pretraining():
    asked = {"eval_every_epochs": 0, "mode": "train_then_eval"}
    plan = plan_at_the_end(config_of(**asked), TRAIN, TEST)
    assert (plan.gallery.num_examples, plan.k, plan.queries) == (GALLERY, GALLERY, TEST)
    for train, evaluation in ((unlabelled(TRAIN, 0), TEST), (unlabelled(TRAIN, 1), TEST), (TRAIN, None)):
        assert plan_at_the_end(config_of(**asked), train, evaluation) is None
    assert plan_at_the_end(config_of(eval_every_epochs=0, mode="train"), TRAIN, TEST) is None
    assert plan_at_the_end(config_of(**asked, train_mode="finetune"), TRAIN, TEST) is None


def test_knn_at_the_end_is_that_of_the_online_evaluation():
    config, model = config_of(eval_every_epochs=0, mode="train_then_eval"), model_on(ONE_DEVICE)
    before = values_of(model)
    plan, top_1 = knn_at_the_end(config, Data(TRAIN, TEST), model, ONE_DEVICE, chief=True, say=print)
    assert values_of(model) == before
    evaluation = OnlineEvaluation(plan_of(), model, ONE_DEVICE)
    assert evaluation.figures(*evaluation.features())[KNN_TOP_1] == top_1
    assert f"kNN top-1 {top_1:.1%} (k = {GALLERY}" in knn_line(plan, top_1, 7)
    assert knn_at_the_end(config, Data(TRAIN, TEST), model, ONE_DEVICE, chief=False, say=print) is None


def test_features_that_are_no_numbers_cost_a_line_and_not_the_run():
    config, model, said = config_of(eval_every_epochs=0, mode="train_then_eval"), model_on(ONE_DEVICE), []
    for name, variable in model.named_variables().items():
        if name.endswith("beta"):  # a NaN would not get through the rectifier
            variable.assign(np.full(variable.shape, np.inf, np.float32))
    assert knn_at_the_end(config, Data(TRAIN, TEST), model, ONE_DEVICE, chief=True, say=said.append) is None
    assert len(said) == 1 and said[0].startswith("note: no kNN at the end: ")


def test_no_plan_where_nothing_is_evaluated_while_training():
    assert plan_online(config_of(eval_every_epochs=0), unlabelled(TRAIN, 0), None) is None
    assert plan_online(config_of(mode="eval", model_dir="run"), TRAIN, TEST) is None


def test_a_watch_writes_curves_and_says_a_line(tmp_path):
    said, model = [], model_on(ONE_DEVICE)
    curves = SummaryWriter(str(tmp_path))
    measure = OnlineWatch(plan_of(), model, ONE_DEVICE, curves, chief=True, say=said.append)
    for step in (10, 20):
        measure(step)
    assert set(measure.last) == {KNN_TOP_1, LINEAR_TOP_1}
    knn, linear = measure.last[KNN_TOP_1], measure.last[LINEAR_TOP_1]
    assert said == [f"step {step}: kNN top-1 {knn:.1%}, linear {linear:.1%} (online)" for step in (10, 20)]
    tags = tags_in(tmp_path)
    for tag, value in measure.last.items():
        assert tags[tag] == [(10, pytest.approx(value)), (20, pytest.approx(value))]


def test_a_worker_that_is_not_the_chief_only_takes_part(monkeypatch):
    passes, real = [], OnlineEvaluation.features
    monkeypatch.setattr(OnlineEvaluation, "features", lambda self: passes.append(1) or real(self))
    watch = OnlineWatch(plan_of(), model_on(ONE_DEVICE), ONE_DEVICE, Observer(), chief=False, say=pytest.fail)
    watch(10)
    assert passes == [1] and watch.last == {}


def test_features_that_are_no_numbers_do_not_end_a_run(tmp_path):
    said, model = [], model_on(ONE_DEVICE)
    curves = SummaryWriter(str(tmp_path))
    measure = OnlineWatch(plan_of(), model, ONE_DEVICE, curves, chief=True, say=said.append)
    measure(10)
    shifts = [v for name, v in model.named_variables().items() if name.startswith("encoder/block") and "beta" in name]
    shifts[-1].assign(np.full(shifts[-1].shape, np.inf, np.float32))
    measure(20)
    assert measure.last == {}
    assert len(said) == 2 and said[1].startswith("note: step 20: no online evaluation: ") and "finite" in said[1]
    assert [step for step, _ in tags_in(tmp_path)[KNN_TOP_1]] == [10]
