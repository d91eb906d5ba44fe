"""NaN and infinity never pass as right, as best or as learnt: eagerly, in a graph, compiled, or in NumPy.

TensorFlow's graph optimiser makes not (a < b) into a >= b, which is another answer where one of them is NaN: what is
counted by comparisons must be tried in a graph.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.pairs import views
from tf_simclr.data.source import MultiLabel
from tf_simclr.errors import InputError
from tf_simclr.evaluate.measures import health, knn, linear, logistic_regression, metrics, multi_label
from tf_simclr.evaluate.measures.standardise import Standardiser
from tf_simclr.losses.anchors import identify_positive
from tf_simclr.losses.dcl import dcl
from tf_simclr.losses.debiased import debiased_nt_xent
from tf_simclr.losses.margin_triplet import margin_triplet
from tf_simclr.losses.negatives import negative_weights
from tf_simclr.losses.nt_logistic import nt_logistic
from tf_simclr.losses.nt_xent import nt_xent
from tf_simclr.losses.supcon import supcon
from tf_simclr.losses.supervised import accuracy, top_k_hits
from tf_simclr.train.precision import are_finite_everywhere

ROOT = Path(__file__).parents[2]
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": functools.partial(tf.function, jit_compile=True),
}
IN_EACH_MODE = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
NAN, INF = np.nan, np.inf
BAD = (NAN, INF, -INF)
NOT_FINITE = pytest.mark.parametrize("bad", BAD)


# ---- Hits ----

# A row of logits whose label is 0; whether it is among the 1, 2 and 3 highest of three.
ROWS = [
    ([NAN, NAN, NAN], (0, 0, 0)),
    ([NAN, 1, 2], (0, 0, 0)),
    ([9, NAN, 0], (0, 0, 0)),
    ([INF, NAN, 0], (0, 0, 0)),
    ([INF, 0, 1], (1, 1, 1)),
    ([INF, INF, 0], (0, 1, 1)),
    ([0, INF, -INF], (0, 1, 1)),
    ([0, -INF, -INF], (1, 1, 1)),
    ([-INF, 0, 1], (0, 0, 1)),
    ([-INF, -INF, -INF], (0, 0, 1)),
]


@IN_EACH_MODE
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_row_with_a_nan_is_a_miss_and_infinity_is_a_number(mode, k):
    rng = np.random.default_rng(0)
    good, labels = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 3, 20)
    labels[7] = 0
    want = [label in np.argsort(-row)[:k] for row, label in zip(good, labels, strict=True)]
    hits_of = mode(functools.partial(top_k_hits, k=k))
    for row, hits in ROWS:
        logits = good.copy()
        logits[7] = row
        found = hits_of(tf.constant(logits), tf.constant(labels)).numpy()
        assert found[7] == hits[k - 1], row
        np.testing.assert_array_equal(np.delete(found, 7), np.delete(want, 7))


@IN_EACH_MODE
def test_a_network_of_nans_is_never_right(mode):
    labels = tf.constant(np.arange(12) % 4)
    assert float(mode(accuracy)(tf.fill([12, 4], NAN), labels)) == 0.0


# ---- Contrastive losses ----


def anchors_of(n):
    own = np.arange(2 * n)
    return np.stack([own, (own + n) % (2 * n)], axis=1).astype(np.int32)


@IN_EACH_MODE
def test_an_anchor_with_a_similarity_that_is_not_finite_is_no_hit_and_the_others_stay(mode):
    """Row 4 of 8 has its positive in column 0, which is what the argmax of NaNs is."""
    n = 4
    labels = tf.constant(anchors_of(n))
    good = np.random.default_rng(1).normal(size=(2 * n, 2 * n)).astype(np.float32)
    good[np.arange(n, 2 * n), np.arange(n)] += 5
    values_of = mode(identify_positive)
    want = [value.numpy() for value in values_of(tf.constant(good), labels)]
    assert want[1][n] == 1 and 1 < want[1].sum() < 2 * n
    for bad in BAD:
        for columns in (slice(None), 2):
            logits = good.copy()
            logits[n, columns] = bad
            loss, hit, entropy = (value.numpy() for value in values_of(tf.constant(logits), labels))
            assert hit[n] == 0 and np.isnan(entropy[n])
            for found, expected in zip((loss, hit, entropy), want, strict=True):
                np.testing.assert_allclose(np.delete(found, n), np.delete(expected, n), rtol=1e-4, atol=1e-5)


@IN_EACH_MODE
@pytest.mark.parametrize("more", [{}, {"hidden_norm": False, "block_rows": 3}], ids=str)
@pytest.mark.parametrize(
    "loss",
    [
        nt_xent,
        functools.partial(nt_logistic, semi_hard=True),
        margin_triplet,
        functools.partial(margin_triplet, semi_hard=True),
        dcl,
        lambda a, b, **more: debiased_nt_xent(a, b, **{k: v for k, v in more.items() if k != "hidden_norm"}),
        lambda a, b, **more: supcon(a, b, [0, 1, 0, -1], **more),
    ],
    ids=["nt_xent", "nt_logistic", "margin_triplet", "margin_triplet_mined", "dcl", "debiased", "supcon"],
)
def test_a_projection_that_is_not_finite_shows_in_the_loss_and_solves_no_task(mode, loss, more):
    """It is a candidate of every anchor, so that none can be called right."""
    values_of = mode(lambda a, b: tf.stack(loss(a, b, **more)))
    for bad in BAD:
        z = np.array(views(4, d=6))
        z[0, 1, 2] = bad
        found = values_of(tf.constant(z[0]), tf.constant(z[1])).numpy()
        assert not np.isfinite(found[0]) and found[1] == 0 and not np.isfinite(found[2])


@IN_EACH_MODE
@pytest.mark.parametrize("within", [None, 0.8])
def test_mining_takes_no_negative_that_is_not_finite_and_the_others_stay(mode, within):
    n = 5
    labels = tf.constant(anchors_of(n))
    good = np.random.default_rng(2).uniform(-1, 1, [2 * n, 2 * n]).astype(np.float32)
    good[np.arange(2 * n), anchors_of(n)[:, 1]] = 0.5
    weights_of = mode(functools.partial(negative_weights, within=within))
    want = weights_of(tf.constant(good), labels).numpy()
    for bad in BAD:
        similarities = good.copy()
        similarities[3] = bad
        similarities[1, 7] = bad  # one of the negatives of anchor 1
        found = weights_of(tf.constant(similarities), labels).numpy()
        if within is None:  # all share the weight, and the loss of the anchor is not finite
            np.testing.assert_array_equal(found, want)
        else:
            assert np.isfinite(found).all() and not found[3].any() and found[1, 7] == 0
            np.testing.assert_array_equal(np.delete(found, [1, 3], 0), np.delete(want, [1, 3], 0))


@IN_EACH_MODE
def test_one_gradient_that_is_not_finite_is_seen(mode):
    tensors = [np.ones(1000, np.float32), np.ones([3, 5], np.float32)]
    are_finite = mode(are_finite_everywhere)
    assert bool(are_finite([tf.constant(t) for t in tensors]))
    for bad in BAD:
        tensors[1][2, 4] = bad
        assert not bool(are_finite([tf.constant(t) for t in tensors]))


# ---- Features and scores ----

ROW = 17


def spoilt(bad, rows=40, columns=4):
    """Features [rows, columns] with one value that is not finite, in row 17."""
    x = np.random.default_rng(3).normal(size=(rows, columns)).astype(np.float32)
    x[ROW, 2] = bad
    return x


GOOD = np.random.default_rng(4).normal(size=(40, 4)).astype(np.float32)
LABELS = np.arange(40) % 4
SHOWN = MultiLabel(np.eye(4, dtype=bool)[LABELS], np.zeros([40, 4], bool))
QUICK = {"l2_strengths": [1.0]}
FITTED = logistic_regression.fit_logistic_regression(GOOD, LABELS, **QUICK)
TRAINED = linear.linear_probe(GOOD, LABELS, 4, epochs=1, batch_size=10)
EVALUATIONS = {
    "top_k_accuracy": lambda x: metrics.top_k_accuracy(x, LABELS, 1),
    "average_precisions": lambda x: metrics.average_precisions(x, SHOWN.positives),
    "knn, queries": lambda x: knn.knn_accuracies(x, LABELS, GOOD, LABELS, ks=[3]),
    "knn, gallery": lambda x: knn.knn_accuracies(GOOD, LABELS, x, LABELS, ks=[3]),
    "linear, training": lambda x: linear.linear_probe(x, LABELS, 4, epochs=1, batch_size=10),
    "linear, as they are": lambda x: linear.linear_probe(x, LABELS, 4, epochs=1, batch_size=10, standardise=False),
    "linear, test": TRAINED.logits,
    "logreg, training": lambda x: logistic_regression.fit_logistic_regression(x, LABELS, **QUICK),
    "logreg, validation": lambda x: logistic_regression.fit_logistic_regression(
        GOOD, LABELS, validation=(x, LABELS), **QUICK
    ),
    "logreg, test": FITTED.predict,
    "one vs rest, training": lambda x: multi_label.fit_one_vs_rest(x, SHOWN, **QUICK),
    "one vs rest, validation": lambda x: multi_label.fit_one_vs_rest(GOOD, SHOWN, validation=(x, SHOWN), **QUICK),
    "standardise": Standardiser.of,
    "alignment": lambda x: health.alignment(GOOD, x),
    "uniformity": health.uniformity,
    "feature_std": health.feature_std,
    "effective_rank": health.effective_rank,
    "representation_health": health.representation_health,
    "contrastive_task": lambda x: health.contrastive_task(GOOD, x),
}


@NOT_FINITE
@pytest.mark.parametrize("evaluation", EVALUATIONS.values(), ids=EVALUATIONS)
def test_a_value_that_is_not_finite_is_refused(evaluation, bad):
    evaluation(GOOD)
    with pytest.raises(InputError, match=f"row {ROW}|diverged") as caught:
        evaluation(spoilt(bad))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classifier", [TRAINED.logits, FITTED.predict], ids=["linear", "logreg"])
def test_finite_features_whose_logits_are_not_are_refused(classifier):
    x = GOOD.astype(np.float64)
    x[ROW] = np.finfo(np.float32 if classifier == TRAINED.logits else np.float64).max * np.array([1, 1, -1, 1])
    x[ROW] *= np.sign(FITTED.weights[0]) if classifier == FITTED.predict else 1
    with pytest.raises(InputError, match=f"`logits` must be finite.*row {ROW}"):
        classifier(x)


def test_scores_beyond_the_range_of_float32_do_not_tie():
    with pytest.raises(InputError, match=r"`scores` must be finite.*row 1"):
        metrics.top_k_accuracy([[1.0, 0.0], [1e300, 1e299]], [0, 0], 1)


@pytest.mark.parametrize("name", ["zero_rows", "uniformity", "std_ratio", "effective_rank"])
@NOT_FINITE
def test_health_that_is_not_finite_is_not_well(name, bad):
    values = dict(examples=100, dimensions=10, zero_rows=0.0, uniformity=-3.0, std_ratio=1.0, effective_rank=8.0)
    assert health.collapse_warning(health.Health(**values)) is None
    assert name in (health.collapse_warning(health.Health(**(values | {name: bad}))) or "")


def test_a_contrastive_task_beyond_the_range_of_float32_is_refused():
    with pytest.raises(InputError, match="similarities that float32 holds"):
        health.contrastive_task(GOOD * np.float32(1e30), GOOD * np.float32(1e30), hidden_norm=False)


# ---- The sources ----


def sources():
    folders = ("tf_simclr", "tools", "benchmarks")
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 100
    return found


def calls(path, *names):
    """(line, call) of every call of a function that is spelt so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node.lineno, node


def test_every_json_text_is_strict():
    """Python writes NaN and Infinity, which are no JSON, unless allow_nan=False forbids it."""
    lax = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line, call in calls(path, "json.dump", "json.dumps")
        if not any(word.arg == "allow_nan" and ast.unparse(word.value) == "False" for word in call.keywords)
    ]
    # A message of an error, which quotes what was read.
    assert [place for place in lax if not place.startswith("tf_simclr/train/device_choice.py")] == []


def test_no_tensor_comparison_of_order_is_negated():
    orders = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    negated = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line, call in calls(path, "tf.logical_not", "tf.math.logical_not")
        for argument in call.args
        if isinstance(argument, ast.Compare) and any(isinstance(operator, orders) for operator in argument.ops)
    ]
    assert negated == []
