"""Rows of the images: what training and evaluation see of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.data.folders import class_folders, make_images
from tests.wiring.given import CLASSES
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import evaluation_view, train_batches
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import evaluate_classifier
from tf_simclr.evaluate.online import open_online_data, plan_at_the_end, plan_online
from tf_simclr.train import input


def as_numbers(image):
    return np.round(np.asarray(image, np.float64), 5).tolist()


class Watcher:
    """In place of a model: keeps what images evaluation shows it."""

    def __init__(self, size):
        self.last, self.batch = tf.Variable(tf.zeros([size, size, 3])), 0

    def named_variables(self):
        return {}

    def endpoints(self, images, training):
        self.batch = images.shape[0]
        self.last.assign(images[0])
        return {"logits_sup": tf.zeros([images.shape[0], CLASSES])}


def evaluated(run):
    """What the evaluation of the supervised head sees of the first images, and what it counts."""
    watcher = Watcher(run.config.data.image_size)
    state = SimpleNamespace(model=watcher, penalized=[])
    metrics = evaluate_classifier(run.config, state, run.data.evaluation, run.strategy)
    return watcher, metrics


def plan_of(run):
    """Of kNN at the end of a run."""
    return plan_at_the_end(run.config, run.data.train, run.data.evaluation)


def plan_while_training(run):
    return plan_online(run.config, run.data.train, run.data.evaluation)


def measured_on(run):
    """The folder that h is evaluated on, in place of the run's own images; None without one."""
    online = open_online_data(run.config, run.data)
    return None if online is run.data else Path(online.train.location).name


def evaluation_images(run):
    """Size, batch and crop of kNN at the end; batch, and the first image of the last one, of the head's evaluation."""
    plan = plan_of(run)
    watcher, _ = evaluated(run)
    return (
        plan.data.image_size,
        plan.data.eval_batch_size,
        plan.data.crop_of_evaluation,
        watcher.batch,
        as_numbers(watcher.last),
    )


def last_shown(run, size, crop):
    """The first image of the last batch, as evaluation must see it."""
    records = list(run.data.evaluation.records(None))
    first = (len(records) - 1) // run.config.data.eval_batch_size * run.config.data.eval_batch_size
    return as_numbers(evaluation_view(run.data.evaluation.decode(records[first]["data"]), size, crop))


def images_of(source, count=3):
    return [as_numbers(source.decode(record["data"])) for record in source.records(None).take(count)]


def all_images(run):
    return images_of(run.data.train), images_of(run.data.evaluation)


def shapes_of(seed):
    train, test = load_sources("shapes", train_split="train[:48]", eval_split="test[:22]", seed=seed)
    return images_of(train), images_of(test)


def held_out(run):
    return sorted(run.data.train.held_out().names)


def held_out_by(how):
    def names(run):
        data = run.config.data
        source, _ = load_sources("folder", data_dir=data.data_dir, eval_split="test", hold_out_by=how)
        return sorted(source.held_out().names)

    return names


def refused(run):
    """Whether the images are refused, when they are opened or when they are decoded."""
    try:
        for record in run.data.train.records(None):
            run.data.train.decode(record["data"])
    except (InputError, tf.errors.OpError):
        return True
    return False


def batch_of(seed):
    def batch(run):
        policy = ViewPolicy(16, blur=False)
        wanted = train_batches(run.data.train, policy=policy, batch_size=16, seed=seed)
        return as_numbers(next(iter(wanted))["views"][1])

    return batch


def held_in_memory(run):
    """Whether training reads the images that `load` returned: those here are black."""
    black = replace(run.data.train, load=None, decode=lambda data: tf.zeros(run.data.train.image_shape))
    source = replace(run.data.train, load=lambda: black)
    batch = next(iter(input.build_train_iterator(run.config, source, run.strategy, 0)))
    return not np.any(batch["views"][0])


def write_folders(root):
    """Folders of images: plain, whole, damaged (one of 121), formats (one TIFF), large (one of 20 MP); and a table."""
    plain = class_folders({"cat": 20, "dog": 20})
    make_images(root / "plain", plain, side=8)
    for name, counts in {"whole": (10, 10), "damaged": (60, 61), "formats": (10, 10), "large": (10, 10)}.items():
        make_images(root / name, class_folders(dict(zip(("train/a", "train/b"), counts, strict=True))))
    broken = root / "damaged" / "train" / "b" / "007.png"
    broken.write_bytes(broken.read_bytes()[:40])
    # TensorFlow reads no TIFF.
    Image.new("RGB", (8, 8)).save(root / "formats" / "train" / "a" / "more.tiff")
    Image.new("L", (5000, 4000)).save(root / "large" / "train" / "a" / "more.png")
    table = [f"{name},{'bird' if number % 2 else 'fish'}" for number, name in enumerate(plain)]
    (root / "labels.csv").write_text("\n".join(["path,label", *table]))
