"""What the rows of run.py's flags look at, and the same values computed by another way."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tf_simclr.cli.session import Session, export, follow, report, train_mode

from tests.data.folders import class_folders, make_images
from tests.losses.pairs import mean_over_anchors
from tests.networks import small_networks
from tests.wiring.given import CLASSES, in_small, kernels_of, layers_of
from tf_simclr import compat
from tf_simclr.cli import session as session_module
from tf_simclr.cli import train as cli_train
from tf_simclr.cli.train import open_session
from tf_simclr.config import build_config
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import evaluation_view, train_batches
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.evaluate.classifier import TOP_1, TOP_5, evaluate_classifier
from tf_simclr.evaluate.online import plan_at_the_end, plan_online
from tf_simclr.interop import saved_model
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import layer_group
from tf_simclr.train import build, strategy
from tf_simclr.train import run as run_module
from tf_simclr.train.checkpoints import CheckpointStore, read_values, resolve
from tf_simclr.train.device_choice import DeviceChoice, Worker, choose
from tf_simclr.train.interrupts import StopRequest
from tf_simclr.train.loop import Observers
from tf_simclr.train.run import Outcome
from tf_simclr.train.step import contrastive_terms
from tf_simclr.train.workers import Workers

STEM = "encoder/stem_conv/kernel"


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


def as_numbers(image):
    return np.round(np.asarray(image, np.float64), 5).tolist()


def plan_of(run):
    """Of kNN at the end of a run."""
    return plan_at_the_end(run.config, run.data.train, run.data.evaluation)


def evaluation_images(run):
    """Size, batch and crop of kNN at the end; batch, and the first image of the last one, of the head's evaluation."""
    plan = plan_of(run)
    watcher, _ = evaluated(run)
    return plan.image_size, plan.batch_size, plan.eval_crop, watcher.batch, as_numbers(watcher.last)


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
    return sorted(run.data.train.held_out())


def held_out_by(how):
    def names(run):
        data = run.config.data
        source, _ = load_sources("folder", data_dir=data.data_dir, eval_split="test", hold_out_by=how)
        return sorted(source.held_out())

    return names


def operators_of(run):
    return [type(operator).__name__ for operator in run.policy.operators]


def operator(name):
    return lambda run: next(op for op in run.policy.operators if type(op).__name__ == name)


def norms(run):
    model = run.networks
    return {
        (layer.momentum, layer.global_moments)
        for layer in layers_of(model.encoder, model.projection_head)
        if isinstance(layer, BatchNorm)
    }


def convolutions(run):
    return sum("conv" in layer.name and hasattr(layer, "kernel") for layer in run.networks.encoder.layers)


def layer_words(run):
    """The parts of the names of the encoder's layers."""
    return {word.rstrip("0123456789") for layer in run.networks.encoder.layers for word in layer.name.split("_")}


def dense_layers(model):
    return [layer.name for layer in model.layers if isinstance(layer, tf.keras.layers.Dense)]


def outputs(part, name):
    return lambda run: getattr(run.networks, part).output[name].shape[-1]


Z = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)


def loss_of(run):
    return float(contrastive_terms(tf.concat(list(Z), axis=0), run.config)["train/contrast_loss"])


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
    batch = next(iter(build.build_train_iterator(run.config, source, run.strategy, 0)))
    return not np.any(batch["views"][0])


def stem_weights(seed):
    def weights(run):
        tf.keras.utils.set_random_seed(seed)
        return as_numbers(compat.raw_variable(small_networks(run.config, CLASSES).named_variables()[STEM]))

    return weights


def frozen_groups(run):
    names = [layer.name for layer in run.networks.encoder.layers if layer.weights and not layer.trainable]
    return {layer_group(name) for name in names}


def input_of_head(run):
    trained = {path for path, v in run.networks.named_variables().items() if path.startswith("projection_head")}
    frozen = {id(v) for v in run.networks.non_trainable_variables}
    dense = {path for path in trained if "kernel" in path and id(run.networks.named_variables()[path]) not in frozen}
    return run.networks.supervised_input, sorted(dense)


def trained(run, directory, stop=None):
    """How a run in a directory ends; its loop saves after each of four steps, of which it makes none."""

    def loop(*, save, stop, **others):
        for step in () if stop else (1, 2, 3, 4):
            save(step)
        return 4

    with in_small(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "run_loop", loop)
        return run_module.train(
            run.config,
            run.durations,
            run.data.train,
            run.strategy,
            directory=directory,
            observer=Observers(),
            say=lambda line: None,
            stop=stop or StopRequest(),
            workers=Workers(Worker(), run.strategy),
        )


def started(run):
    """The weights of the stem with which a run begins."""
    stop = StopRequest()
    stop.signal_name = "SIGTERM"
    with tempfile.TemporaryDirectory() as directory:
        state = trained(run, directory, stop).state
    return as_numbers(compat.raw_variable(state.model.named_variables()[STEM]))


def loaded(run):
    """The weights of the stem in the checkpoint that the run begins with."""
    return as_numbers(read_values(resolve(run.config.train.checkpoint), [STEM])[STEM])


def begun(run, before=("old.txt",)):
    """The names of what is in a directory, and beside it, when a run begins in one where these files are."""
    with in_small(), tempfile.TemporaryDirectory() as root:
        directory = Path(root, "run")
        directory.mkdir()
        for name in before:
            (directory / name).write_text("")
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(directory)))
        session, _ = open_session(config, run.parsed.given, Workers(Worker(), run.strategy), run.strategy, None)
        session.begin()
        beside = {path.name.partition(".replaced-")[1] for path in Path(root).iterdir()} - {""}
        return sorted(path.name for path in directory.iterdir()), beside


def exports_kept(run):
    """The steps of the exports in a directory when that of step 4 was written beside those of steps 1 and 2."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        # Writing a SavedModel takes seconds, and is tried elsewhere: which are kept is looked at here.
        patch.setattr(saved_model, "export_saved_model", lambda model, path, card: Path(path).mkdir())
        for step in ("1", "2"):
            Path(directory, "saved_model", step).mkdir(parents=True)
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=directory))
        session = Session(config, run.data, run.durations, run.strategy, StopRequest(), None)
        export(session, Outcome(SimpleNamespace(model=None), 4, finished=True), {})
        return sorted(path.name for path in Path(directory, "saved_model").iterdir())


def checkpoints_kept(run):
    """The files of the checkpoints that a run of four steps leaves."""
    with tempfile.TemporaryDirectory() as directory:
        trained(run, directory)
        return sorted(path.name for path in Path(directory).glob("*.index"))


@contextlib.contextmanager
def watched_session(run):
    """A session in a new directory, and the list of the directories in which it trains; nothing is trained."""
    trained = []

    def stand_in(config, durations, source, strategy, *, directory, **others):
        trained.append(Path(directory).name)
        return Outcome(run.state, durations.train_steps, finished=True)

    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch, in_small():
        patch.setattr(session_module, "train", stand_in)
        patch.setattr(session_module, "export", lambda *words: None)
        Path(root, "run").mkdir()
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=str(Path(root, "run"))))
        yield Session(config, run.data, run.durations, run.strategy, StopRequest(), None), trained


def trained_after(run):
    with watched_session(run) as (session, trained):
        assert train_mode(session) == 0
    return trained


def curves_in(run):
    """The folders below a run's own with curves of the evaluation."""
    with watched_session(run) as (session, _):
        report(session, 4, {TOP_1: 0.5, TOP_5: 0.5, "eval/examples": 22.0})
        return {path.parent.name for path in Path(session.directory).rglob("events*")}


def kind_of_mode(run):
    """Which task the mode starts."""
    called = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for name in ("follow", "train_mode"):
            patch.setattr(cli_train, name, lambda session, name=name: called.append(name) or 0)
        patch.setattr(Workers, "wait_for_all", lambda self: None)
        config = replace(run.config, runtime=replace(run.config.runtime, model_dir=directory))
        cli_train.run(config, run.parsed.given)
    return called[0]


def told_in_mode_eval(run):
    """What a command without a training run to wait for ends with."""
    with in_small(), tempfile.TemporaryDirectory() as directory:
        config = replace(run.config, runtime=replace(run.config.runtime, mode="eval", model_dir=directory))
        session = Session(config, run.data, run.durations, run.strategy, StopRequest(), None)
        with pytest.raises(InputError) as error:
            follow(session)
    return str(error.value).partition("Received: ")[2].partition(" s;")[0]


def asked_of_tpu(run):
    """What the resolver of TPUs is asked for; there is no TPU here, and so no answer."""
    asked = {}

    def resolver(**words):
        asked.update(words)
        raise ValueError("no TPU here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
        patch.delenv("TPU_NAME", raising=False)
        with pytest.raises(InputError, match="no TPU here"):
            strategy.build_strategy(run.config.runtime, DeviceChoice("tpu", "a test asks for it"))
    return asked


def chosen(run):
    choice = choose(run.config.runtime, {})
    return choice.kind, choice.why


def replicas(run):
    return strategy.build_strategy(run.config.runtime, choose(run.config.runtime, {}))[0].num_replicas_in_sync


def refused(run):
    """Whether the images are refused, when they are opened or when they are decoded."""
    try:
        for record in run.data.train.records(None):
            run.data.train.decode(record["data"])
    except (InputError, tf.errors.OpError):
        return True
    return False


def micro_batches(run):
    assert run.metrics
    return run.encoder_batches


def plan_while_training(run):
    return plan_online(run.config, run.data.train, run.data.evaluation)


def stem_of(run):
    """The first weights of the stem."""
    return as_numbers(compat.raw_variable(type(run)(**run.values).state.model.named_variables()[STEM]))


def opened_in(run):
    session, _ = open_session(run.config, run.parsed.given, Workers(Worker(), run.strategy), run.strategy, None)
    return session.directory


def cpu_refused(run):
    """Whether the CPU, which is split into four here already, cannot be split otherwise."""
    tf.zeros([])  # TensorFlow has started
    try:
        replicas(run)
    except InputError as error:
        return "cpu_devices=3" in str(error)
    return False


def write_small_checkpoint(directory):
    """Leaves there a checkpoint of small networks with weights of another seed."""
    tf.keras.utils.set_random_seed(11)
    model = small_networks(build_config({"dataset": "shapes"}), CLASSES)
    CheckpointStore(str(directory), model.named_variables(), 1).save(3)


def write_folders(root):
    """Folders of images: plain, whole, damaged (one of 121), formats (one TIFF of 21); and a table of labels."""
    plain = class_folders({"cat": 20, "dog": 20})
    make_images(root / "plain", plain, side=8)
    for name, counts in {"whole": (10, 10), "damaged": (60, 61), "formats": (10, 10)}.items():
        make_images(root / name, class_folders(dict(zip(("train/a", "train/b"), counts, strict=True))))
    broken = root / "damaged" / "train" / "b" / "007.png"
    broken.write_bytes(broken.read_bytes()[:40])
    # TensorFlow reads no TIFF.
    Image.new("RGB", (8, 8)).save(root / "formats" / "train" / "a" / "more.tiff")
    table = [f"{name},{'bird' if number % 2 else 'fish'}" for number, name in enumerate(plain)]
    (root / "labels.csv").write_text("\n".join(["path,label", *table]))
