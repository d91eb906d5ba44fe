"""Which strategy is chosen, on which devices, and the one line for each thing that cannot work."""

from __future__ import annotations

import json
import os
import socket

import pytest
import tensorflow as tf

from tf_simclr.cli.main import run_task
from tf_simclr.config import RuntimeConfig
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError
from tf_simclr.train.device_choice import DeviceChoice, Worker, choose, read_worker
from tf_simclr.train.strategy import build_strategy, distribute, per_replica_batch, split_cpu
from tf_simclr.train.workers import Workers

TWO = {"worker": ["a:1", "b:1"]}


def environ(cluster=None, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster or TWO, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    "flags,environment,gpus,kind,why",
    [
        ({}, {}, 0, "one_device", "no GPU"),
        ({}, {}, 1, "one_device", "one GPU"),
        ({}, {}, 2, "mirrored", "2 GPUs"),
        ({}, environ(), 2, "multi_worker", "TF_CONFIG"),
        ({}, {"TF_CONFIG": '{"task": {"type": "worker", "index": 0}}'}, 0, "one_device", "no GPU"),
        ({"use_tpu": True}, environ(), 2, "tpu", "--use_tpu"),
        ({"tpu_name": "local"}, {}, 0, "tpu", "--tpu_name"),
        ({"master": "grpc://a:1"}, {}, 0, "tpu", "--master"),
        ({"cpu_devices": 2}, {}, 0, "mirrored", "--cpu_devices=2"),
        ({"cpu_devices": 1}, {}, 0, "one_device", "no GPU"),
        ({"cpu_devices": 1, "use_tpu": True}, {}, 0, "tpu", "--use_tpu"),
        ({"cpu_devices": 2}, {}, 1, "mirrored", "--cpu_devices=2"),
        ({"strategy": "one_device"}, environ(), 4, "one_device", "--strategy=one_device"),
        ({"strategy": "mirrored"}, {"TF_CONFIG": "not JSON"}, 0, "mirrored", "--strategy=mirrored"),
        ({"strategy": "multi_worker"}, environ(), 0, "multi_worker", "--strategy=multi_worker"),
        ({"strategy": "tpu"}, {}, 0, "tpu", "--strategy=tpu"),
    ],
)
def test_the_choice_follows_flags_then_environment_then_devices(flags, environment, gpus, kind, why):
    choice = choose(RuntimeConfig(**flags), environment, gpus)
    assert choice.kind == kind and why in choice.why
    assert choice.worker.count == (2 if kind == "multi_worker" else 1)


@pytest.mark.parametrize(
    "cluster,kind,index,worker",
    [
        (TWO, "worker", 0, Worker(0, 2)),
        (TWO, "worker", 1, Worker(1, 2)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, Worker(0, 3)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "worker", 1, Worker(2, 3)),
    ],
)
def test_workers_are_numbered_as_tensorflow_does_it(cluster, kind, index, worker):
    assert read_worker(environ(cluster, kind, index)) == worker
    assert worker.chief == (worker.index == 0)


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "needs the environment variable TF_CONFIG"),
        ("{nonsense", "TF_CONFIG must be JSON"),
        ("[1]", "an object with `cluster` and `task`"),
        ('{"task": {"type": "worker", "index": 0}}', "`cluster`"),
        ('{"cluster": {"worker": ["a:1"]}}', "`task`"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', "`task`"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "a task index below 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "a task whose type"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "only the jobs"),
        ('{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}', "at most one chief"),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "a list of host:port"),
    ],
)
def test_an_unusable_tf_config_is_one_line(text, message):
    with pytest.raises(InputError) as caught:
        choose(RuntimeConfig(strategy="multi_worker"), {"TF_CONFIG": text})
    line = str(caught.value)
    assert message in line and "Received" in line and "\n" not in line and '{"cluster"' in line


@pytest.mark.parametrize("flags", [{"cpu_devices": 2, "use_tpu": True}, {"cpu_devices": 2, "strategy": "multi_worker"}])
def test_cpu_devices_are_for_mirrored(flags):
    with pytest.raises(InputError, match="`cpu_devices` splits the CPU"):
        choose(RuntimeConfig(**flags), environ())


@pytest.mark.parametrize(
    "flags,message",
    [
        ({"strategy": "mirrored", "tpu_name": "t"}, "Pass one of the two"),
        ({"strategy": "no"}, "auto, one_device"),
        ({"cpu_devices": -1}, "`cpu_devices` must be >= 0"),
    ],
)
def test_flags_that_contradict_each_other(flags, message):
    with pytest.raises(InputError, match=message):
        RuntimeConfig(**flags).validate()


@pytest.mark.parametrize("address", ["local", "grpc://host-without-a-port"])
def test_an_address_without_a_port_is_left_to_tensorflow(address, monkeypatch):
    """Only where a connection can be tried is it tried first."""

    class Resolver:
        def __init__(self, **words):
            assert words == {"tpu": address, "zone": None, "project": None}

        def master(self):
            return address

    def connect(resolver):
        raise ValueError("this is TensorFlow's own attempt")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", connect)
    with pytest.raises(InputError, match="TensorFlow's own attempt"):
        build_strategy(RuntimeConfig(tpu_name=address), DeviceChoice("tpu", "a test asks for it"))


def test_mirrored_takes_every_logical_cpu_and_one_device_takes_one():
    strategy, said = build_strategy(RuntimeConfig(), DeviceChoice("mirrored", "asked"))
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))
    assert said == f"MirroredStrategy over {strategy.num_replicas_in_sync} CPU devices (asked)"
    strategy, said = build_strategy(RuntimeConfig(), DeviceChoice("one_device", "no GPU found"))
    assert strategy.num_replicas_in_sync == 1 and said == "one CPU device (no GPU found)"


def test_the_cpu_cannot_be_split_afterwards():
    tf.zeros([])
    with pytest.raises(InputError, match="`cpu_devices` must be set before TensorFlow starts"):
        split_cpu(len(tf.config.list_logical_devices("CPU")) + 1)


def test_one_cpu_reads_the_data_set_itself_without_autotuning():
    seen = []

    def dataset_of(context):
        seen.append((context.num_input_pipelines, context.input_pipeline_id, context.num_replicas_in_sync))
        return train_batches(shapes_source("train[:4]"), policy=ViewPolicy.crop_and_flip(8), batch_size=2, seed=0)

    strategy, _ = build_strategy(RuntimeConfig(strategy="one_device"), DeviceChoice("one_device", "asked"))
    dataset = distribute(strategy, dataset_of)
    assert isinstance(dataset, tf.data.Dataset) and not dataset.options().autotune.enabled
    assert seen == [(1, 0, 1)]
    assert next(iter(dataset))["views"][0].shape == (2, 8, 8, 3)


def test_shares_of_a_batch(mirrored):
    assert per_replica_batch("train_batch_size", 12, mirrored(3)) == 4
    with pytest.raises(InputError, match=r"multiple of the 3 replicas.*--train_batch_size=9 or --train_batch_size=12"):
        per_replica_batch("train_batch_size", 11, mirrored(3))


def test_one_worker_alone_agrees_with_itself(mirrored):
    workers = Workers(Worker(), mirrored(2))
    assert workers.from_chief(-1) == -1
    assert workers.plan_call(False, 7) == 7 and workers.plan_call(True, 7) == 0
    workers.wait_for_all()


class ChiefAndOther(Workers):
    """The chief of two workers; what the other one contributes is given."""

    others: tuple[int, ...] = ()

    def _sums(self, values):
        return [mine + theirs for mine, theirs in zip(values, self.others, strict=True)]


def test_calls_suit_the_chief_and_one_stop_is_enough(mirrored):
    chief = ChiefAndOther(Worker(0, 2), mirrored(2))
    chief.others = (0, 0)
    assert chief.plan_call(False, 5) == 5
    chief.others = (1, 0)
    assert chief.plan_call(False, 5) == 0


def test_a_worker_that_is_not_the_chief_leaves_the_decision_to_it(mirrored):
    other = Workers(Worker(1, 2), mirrored(2), "elsewhere")  # two replicas that both belong to worker 1: nobody decides
    assert other.plan_call(False, 5) == 0
    assert other.from_chief(9) == 0


def test_every_worker_gets_the_text_of_each(mirrored):
    texts = ["first", "", "der dritte: \u00fc"]
    workers = [Workers(Worker(index, 3), mirrored(2), None if index == 0 else "scratch") for index in range(3)]
    lengths = [len(text.encode()) for text in texts]
    content = list("".join(texts).encode())
    for index, worker in enumerate(workers):
        before = sum(lengths[:index])
        after = len(content) - before - lengths[index]
        adds = [[0] * index + [lengths[index]] + [0] * (2 - index)]
        adds += [[0] * before + list(texts[index].encode()) + [0] * after]
        sums, added = iter([lengths, content]), []
        worker._sums = lambda values, sums=sums, added=added: added.append(list(values)) or next(sums)
        assert worker.gather(texts[index]) == texts
        assert added == adds


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "flag", ["--tpu_name=local", "--tpu_name=grpc://127.0.0.1:PORT", "--master=grpc://127.0.0.1:PORT", "--strategy=tpu"]
)
def test_a_tpu_that_cannot_be_reached_names_the_flag(tmp_path, tiny_flags, capsys, flag):
    flag = flag.replace("PORT", str(closed_port()))
    assert run_task("train", [*tiny_flags, f"--model_dir={tmp_path}", flag]) == 2
    error = capsys.readouterr().err
    name, value = flag.lstrip("-").split("=")
    assert error.startswith(f"error: `{name}` asks for a TPU that cannot be reached")
    assert f"Received: {name}={value}" in error and error.count("\n") == 1
    assert ("requirements-tpu.txt" in error) == (value in ("local", "tpu"))  # what answers there is this TensorFlow


@pytest.mark.parametrize(
    "text,more,message",
    [
        ("{", [], "TF_CONFIG must be JSON"),
        (json.dumps({"cluster": TWO}), [], "`task`"),
        (environ()["TF_CONFIG"], ["--mode=eval"], "`mode` eval runs in one process"),
        (environ()["TF_CONFIG"], ["--model_dir="], "`model_dir` must name one directory that all workers share"),
        ("", ["--strategy=multi_worker"], "needs the environment variable TF_CONFIG"),
    ],
)
def test_bad_input_to_workers_is_one_line(tmp_path, tiny_flags, monkeypatch, capsys, text, more, message):
    monkeypatch.setitem(os.environ, "TF_CONFIG", text)
    assert run_task("train", [*tiny_flags, f"--model_dir={tmp_path}", *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
