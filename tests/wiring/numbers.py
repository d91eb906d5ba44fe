"""Rows of losses and optimizers: numbers, and the same numbers by another way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from tests.losses.pairs import mean_over_anchors, mean_over_rows
from tests.wiring.given import kernels_of
from tests.wiring.images import Watcher
from tf_simclr import compat
from tf_simclr.compat import raw_variable
from tf_simclr.evaluate.classifier import evaluate_classifier
from tf_simclr.train.distill_step import distillation_terms
from tf_simclr.train.step import contrastive_terms

Z = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 0, -1, 0, -1])


def loss_of(run):
    return float(contrastive_terms(tf.concat(list(Z), axis=0), run.config)["train/contrast_loss"])


def labelled_loss_of(run):
    return float(contrastive_terms(tf.concat(list(Z), axis=0), run.config, labels=LABELS)["train/contrast_loss"])


def distilled(name):
    """A term of a student's loss, of given logits."""
    return lambda run: float(distillation_terms(*Z, LABELS % 4, run.config)[name])


def distilled_by_hand(temperature):
    student, teacher = (np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True) for z in Z)
    return float(-(teacher * np.log(student)).sum(axis=1).mean())


def weighed_by_hand(alpha):
    chosen = np.log(np.exp(Z[0]) / np.exp(Z[0]).sum(axis=1, keepdims=True))[np.arange(6), LABELS % 4]
    return float(-(1 - alpha) * chosen.mean() + alpha * distilled_by_hand(1.0))


def averaged_share(run):
    """How much of its way a weight's average went along with it in the first step; None without an average."""
    return _share_of_first_step(run, "average", "supervised_head/dense/kernel")


def followed_share(run):
    """As `averaged_share`, of the copy of the networks that fills a memory; None without a memory."""
    return _share_of_first_step(run, "memory", "encoder/stem_norm/beta")


def _share_of_first_step(run, prefix, path):
    before, _, named = run.before, run.metrics, run.state.named_state()
    if f"{prefix}/{path}" not in named:
        return None
    found = raw_variable(named[f"{prefix}/{path}"]).numpy()
    return float(np.linalg.norm(found - before[path]) / np.linalg.norm(run.paths[path].numpy() - before[path]))


def remembered(run):
    """Entries of a memory, and how many are filled after a step on 8 images; None without a memory."""
    if run.metrics and run.state.memory is None:
        return None
    queue, filled = run.state.memory.remembered()
    return queue.shape[0], int(filled)


def dcl_by_hand(temperature, norm=True):
    """Yeh et al. 2022: the positive against the views of the other images."""

    def anchor(s, own, positive):
        others = np.delete(s, [own, positive])
        return np.log(np.exp(others / temperature).sum()) - s[positive] / temperature

    return float(mean_over_rows(lambda s, *places: anchor(np.array(s), *places), Z, norm))


def debiased_by_hand(temperature, prior):
    """Chuang et al. 2020: the mean of the negatives less the share of the anchor's own class."""

    def anchor(s, own, positive):
        others = np.exp(np.delete(s, [own, positive]) / temperature)
        own_class = np.exp(s[positive] / temperature)
        g = max((others.mean() - prior * own_class) / (1 - prior), np.exp(-1 / temperature))
        return np.log(1 + len(others) * g / own_class)

    return float(mean_over_rows(lambda s, *places: anchor(np.array(s), *places), Z, True))


def supcon_by_hand(temperature, norm=True):
    """Khosla et al. 2020, Equation 2, with the classes of LABELS."""
    labels = np.concatenate([LABELS, LABELS])

    def anchor(s, own, second_view):
        alike = (labels == labels[own]) & (labels[own] >= 0)
        alike[second_view], alike[own] = True, False
        return np.log(np.exp(np.delete(s, own) / temperature).sum()) - s[alike].mean() / temperature

    return float(mean_over_rows(lambda s, *places: anchor(np.array(s), *places), Z, norm))


def entropy_of(run):
    return float(contrastive_terms(tf.concat(list(Z), axis=0), run.config)["train/contrast_entropy"])


def nt_xent_by_hand(temperature, norm):
    """SimCLR, Equation 1, one anchor at a time: its positive against that one and all other views."""
    z = np.concatenate(Z).astype(np.float64)
    if norm:
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    losses, n = [], len(Z[0])
    for i, anchor in enumerate(z):
        logits = np.delete(z @ anchor, i) / temperature
        positive = z[(i + n) % (2 * n)] @ anchor / temperature
        losses.append(np.log(np.exp(logits).sum()) - positive)
    return float(np.mean(losses))


def triplet_by_hand(margin):
    return float(mean_over_anchors(lambda p, others: np.mean([max(n - p + margin, 0) for n in others]), Z, True))


def loss_like(loss, temperature, *, hidden_norm=True, margin=0.4, semi_hard=False):
    numbers = {"temperature": temperature, "hidden_norm": hidden_norm, "margin": margin, "semi_hard": semi_hard}
    return float(loss(*map(tf.constant, Z), **numbers).loss)


def entropy_like(loss, temperature):
    return float(loss(*map(tf.constant, Z), temperature=temperature).entropy)


def decayed(run):
    """What moves without a gradient: what the optimizer itself decays."""
    return {path for path, change in run.moved_by(0.0).items() if np.any(change)}


def all_but_kernels(run):
    return set(run.paths) - kernels_of(head=False)


def plainly_moved(run):
    """What moves by the learning rate times the gradient: what the optimizer does not adapt."""
    rate = run.config.optimizer.peak_learning_rate(run.config.data.train_batch_size)
    return {path for path, change in run.moved_by(1.0).items() if np.allclose(change, rate, rtol=1e-3)}


def penalty(run):
    return run.metrics["train/weight_decay"]


def penalty_by_hand(names):
    """Half of a weight decay of 0.01, times the squares of these kernels before the step."""
    return lambda run: float(sum(0.005 * np.sum(run.before[name].astype(np.float64) ** 2) for name in names))


def evaluated_penalty(run):
    """eval/regularization_loss."""
    state = SimpleNamespace(model=Watcher(16), penalized=run.state.penalized)
    return evaluate_classifier(run.config, state, run.data.evaluation, run.strategy)["eval/regularization_loss"]


def evaluated_penalty_by_hand(run):
    kernels = [run.paths[name].numpy().astype(np.float64) for name in kernels_of(head=True)]
    return float(sum(0.005 * np.sum(kernel**2) for kernel in kernels))


def decay_of_lamb(run):
    optimizer = run.state.optimizer
    if compat.KERAS_3:
        return float(optimizer.lamb_weight_decay)
    return float(optimizer._serialize_hyperparameter("weight_decay"))


def micro_batches(run):
    assert run.metrics
    return run.encoder_batches
