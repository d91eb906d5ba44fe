"""Which devices a run uses, and how a global batch is divided over them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineError
from typing import Any
from urllib.parse import urlsplit

import tensorflow as tf

from tf_simclr.config import RuntimeConfig
from tf_simclr.errors import InputError
from tf_simclr.train.device_choice import DeviceChoice, choose

TPU_SECONDS = 45.0
# What TensorFlow says then: No OpKernel was registered to support Op ...
_NO_TPU_SUPPORT = "ConfigureDistributedTPU"
_PROBE_SECONDS = 10.0


def choose_strategy(runtime: RuntimeConfig) -> DeviceChoice:
    """The strategy for the flags, TF_CONFIG and the GPUs of this machine; no device is opened yet.

    Raises:
        InputError: a TF_CONFIG that cannot be used, or flags that contradict each other.
    """
    return choose(runtime, os.environ, _count("GPU"))


def build_strategy(runtime: RuntimeConfig, choice: DeviceChoice) -> tuple[tf.distribute.Strategy, str]:
    """The tf.distribute strategy, and a sentence that says which it is and why.

    It must be the first thing a process asks of TensorFlow: workers connect, and the CPU is split, before any tensor.
    With several workers it returns when all of them are there.

    Args:
        runtime: the flags.
        choice: made from them.

    Raises:
        InputError: a TPU or a cluster that cannot be reached, or a CPU that is already in use.
    """
    if runtime.cpu_devices:
        split_cpu(runtime.cpu_devices)
    build = {"tpu": _tpu, "multi_worker": _multi_worker, "mirrored": _mirrored, "one_device": _one_device}[choice.kind]
    strategy, what = build(runtime, choice)
    return strategy, f"{what} ({choice.why})"


def split_cpu(count: int) -> None:
    """Makes TensorFlow see `count` CPU devices, to try out replicas without GPUs.

    Raises:
        InputError: TensorFlow has already started with another number.
    """
    if _count("CPU") == count:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise InputError(
            f"`cpu_devices` must be set before TensorFlow starts. Received: cpu_devices={count}, where {_count('CPU')} "
            "are in use. Start a new process"
        ) from error


def distribute(
    strategy: tf.distribute.Strategy, dataset_of: Callable[[tf.distribute.InputContext], tf.data.Dataset]
) -> Iterable[Any]:
    """The batches of `dataset_of`, which builds this process's part of them, on the replicas of a strategy.

    One CPU device reads the data set itself. Iterators of strategies copy to the devices by small data sets of their
    own, whose autotuning cannot be turned off, and which are waited for in the end: see the options of
    `tf_simclr.data.pipeline`.
    """
    if isinstance(strategy, tf.distribute.OneDeviceStrategy):
        [device] = strategy.extended.worker_devices
        if tf.DeviceSpec.from_string(device).device_type == "CPU":
            return dataset_of(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(dataset_of)


def _count(kind: str) -> int:
    """Logical devices of a kind, without starting TensorFlow's runtime."""
    devices = tf.config.list_physical_devices(kind)
    return sum(len(tf.config.get_logical_device_configuration(device) or [device]) for device in devices)


def _one_device(runtime: RuntimeConfig, choice: DeviceChoice) -> tuple[tf.distribute.Strategy, str]:
    del runtime, choice
    kind = "GPU" if _count("GPU") else "CPU"
    return tf.distribute.OneDeviceStrategy(f"{kind}:0"), f"one {kind} device"


def _mirrored(runtime: RuntimeConfig, choice: DeviceChoice) -> tuple[tf.distribute.Strategy, str]:
    del runtime, choice
    kind = "GPU" if _count("GPU") else "CPU"
    count = _count(kind)
    strategy = tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(count)])
    alone = ", the same as one_device" if count == 1 else ""
    return strategy, f"MirroredStrategy over {count} {kind} device{'s' * (count > 1)}{alone}"


def _multi_worker(runtime: RuntimeConfig, choice: DeviceChoice) -> tuple[tf.distribute.Strategy, str]:
    del runtime
    implementation = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementation.AUTO if _count("GPU") else implementation.RING
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except (tf.errors.OpError, RuntimeError) as error:
        raise InputError(
            f"the workers of TF_CONFIG cannot be connected: {_one_line(error)}. Received: TF_CONFIG="
            f"{os.environ['TF_CONFIG']}. Check its addresses, and start all workers with the same command"
        ) from error
    worker, replicas = choice.worker, strategy.num_replicas_in_sync
    return strategy, (
        f"MultiWorkerMirroredStrategy, worker {worker.index} of {worker.count}, {replicas} replicas in all"
    )


def _tpu(runtime: RuntimeConfig, choice: DeviceChoice) -> tuple[tf.distribute.Strategy, str]:
    """Connects to a TPU in a thread of its own: the calls of TensorFlow may wait for ever."""
    del choice
    name, value = runtime.tpu_request or ("strategy", runtime.strategy)
    connected: Future[tf.distribute.cluster_resolver.TPUClusterResolver] = Future()

    def connect() -> None:
        try:
            connected.set_result(_connect_to_tpu(runtime))
        except BaseException as error:  # handed to the thread that waits, whatever it is
            connected.set_exception(error)

    threading.Thread(target=connect, name="connect to the TPU", daemon=True).start()
    try:
        strategy = tf.distribute.TPUStrategy(connected.result(TPU_SECONDS))
    except Exception as error:
        late = f"no answer within {TPU_SECONDS:g} s"
        reason = late if isinstance(error, DeadlineError) else _one_line(error)
        remedy = "Check --tpu_name, --tpu_zone and --gcp_project ('local' on a TPU VM), or leave it out"
        if _NO_TPU_SUPPORT in str(error):
            reason = "this TensorFlow is built without TPUs"
            remedy = "On a machine with a TPU, pip install -r requirements-tpu.txt; elsewhere leave it out"
        raise InputError(
            f"`{name}` asks for a TPU that cannot be reached: {reason}. Received: {name}={value}. {remedy}"
        ) from error
    return strategy, f"TPUStrategy over {strategy.num_replicas_in_sync} cores"


def _connect_to_tpu(runtime: RuntimeConfig) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    address = runtime.tpu_name or runtime.master or os.environ.get("TPU_NAME") or "local"
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
        tpu=address, zone=runtime.tpu_zone, project=runtime.gcp_project
    )
    target = urlsplit(resolver.master() or "")
    if target.hostname and target.port:
        # A refused connection is known at once here; TensorFlow would try again without end.
        socket.create_connection((target.hostname, target.port), timeout=_PROBE_SECONDS).close()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return resolver


def _one_line(error: BaseException, longest: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]}..."


def per_replica_batch(name: str, global_batch: int, strategy: tf.distribute.Strategy) -> int:
    """A replica's share of a global batch.

    Raises:
        InputError: the batch does not divide: labels of a gathered loss need equal shares.
    """
    replicas = strategy.num_replicas_in_sync
    if global_batch % replicas:
        below = global_batch // replicas * replicas
        raise InputError(
            f"`{name}` must be a multiple of the {replicas} replicas. Received: {name}={global_batch}. "
            f"Pass --{name}={below or replicas} or --{name}={below + replicas}"
        )
    return global_batch // replicas
