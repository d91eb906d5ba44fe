"""Batches that other processes make: the same ones, in the same order, also when one of these processes is killed."""

from __future__ import annotations

import functools
import itertools
import socket

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.input_workers import WorkerProcess
from tf_simclr.data import input_service
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.input_service import InputService, require_input_workers
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.read_errors import named
from tf_simclr.data.remote import lost, remote_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError

POLICY = ViewPolicy.crop_and_flip(8)
NOBODY = "grpc://localhost:1"


@pytest.fixture(scope="module")
def workers():
    """Two that all tests share, and which none ends."""
    both = [WorkerProcess(), WorkerProcess()]
    yield [worker.address for worker in both]
    for worker in both:
        worker.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three formats: one that only Python decodes, one whose header it reads, one that never meets it."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number, kind in zip(range(12), itertools.cycle(["tiff", "png", "jpg"])):
        image = Image.fromarray(generator.integers(0, 256, (9 + number % 5, 12, 3), np.uint8))
        path = root / "train" / f"class{number % 2}" / f"{number:02d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root


def stream_of(source, **options):
    """The batches of a stream from a step on, or a share of them; five batches are more than two epochs."""
    return functools.partial(train_batches, source, policy=POLICY, batch_size=5, seed=3, **options)


def remote(addresses, stream, start=0):
    return remote_batches(addresses, lambda dealt: stream(start_step=start, dealt=dealt))


def assert_same(found, expected, count):
    pairs = list(zip(itertools.islice(found, count), itertools.islice(expected, count), strict=True))
    assert len(pairs) == count
    for one, other in pairs:
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(("kind", "host_only"), [("shapes", False), ("folder", True)])
def test_two_workers_give_the_batches_that_this_process_makes(kind, host_only, folder, workers):
    if kind == "folder":
        source = load_sources("folder", data_dir=str(folder), eval_split=None)[0]
    else:
        source = shapes_source("train[:12]")
    stream = stream_of(source, host_only=host_only, plain=2)
    found = remote(workers, stream, start=1).as_numpy_iterator()
    assert_same(found, stream(start_step=1).as_numpy_iterator(), 5)


def test_a_worker_that_is_killed_changes_no_batch(workers):
    stream, killed = stream_of(shapes_source("train[:12]")), WorkerProcess()
    found = remote([killed.address, workers[0]], stream).as_numpy_iterator()
    expected = stream().as_numpy_iterator()
    assert_same(found, expected, 2)
    killed.kill()
    assert_same(found, expected, 12)


def test_a_worker_that_was_restarted_is_dealt_its_share_again(workers):
    """What the first process knew of the stream is gone, and the next one at its address says so."""
    stream, service = stream_of(shapes_source("train[:12]")), InputService(host="localhost")
    port = service.port
    found = remote([service.address, workers[0]], stream).as_numpy_iterator()
    expected = stream().as_numpy_iterator()
    assert_same(found, expected, 2)
    del service
    again = InputService(port, "localhost")
    assert_same(found, expected, 12)
    assert again.port == port


def test_a_stream_ends_with_an_error_when_no_worker_is_left():
    stream, only = stream_of(shapes_source("train[:12]")), InputService(host="localhost")
    address = only.address
    found = remote([address], stream).as_numpy_iterator()
    next(found)
    del only
    with pytest.raises(tf.errors.UnknownError) as failure:
        list(itertools.islice(found, 12))
    line = str(lost(failure.value))
    assert f"Received: none is left; {address}: " in line and len(line.splitlines()) == 1


def test_an_image_that_no_worker_can_read_is_named(folder, workers):
    source = load_sources("folder", data_dir=str(folder), eval_split=None)[0]
    path = folder / "train" / "class0" / "02.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(tf.errors.UnknownError) as failure:
        list(itertools.islice(remote(workers, stream_of(source)), 3))
    path.write_bytes(content)
    assert (
        str(named(failure.value)) == f"This image is damaged, remove or replace it: {path}. Run the same command again"
    )


def test_several_processes_that_train_share_the_workers(workers):
    source = shapes_source("train[:12]")
    for shard in ((2, 0), (2, 1)):
        stream = stream_of(source, shard=shard)
        assert_same(remote(workers, stream).as_numpy_iterator(), stream().as_numpy_iterator(), 3)


def test_an_address_without_a_worker_is_refused_by_name(workers):
    require_input_workers(workers)
    with pytest.raises(InputError, match=f"`input_workers` names one that cannot be reached: .* Received: {NOBODY}"):
        require_input_workers([*workers, NOBODY])


def test_a_port_that_something_else_listens_at_is_refused(monkeypatch):
    monkeypatch.setattr(input_service, "SECONDS_TO_ANSWER", 0.5)
    with socket.create_server(("localhost", 0)) as other:
        address = f"grpc://localhost:{other.getsockname()[1]}"
        with pytest.raises(InputError, match=f"gives no answer within 0.5 s: .* Received: {address}"):
            require_input_workers([address])


def test_another_version_is_refused(monkeypatch, workers):
    monkeypatch.setattr(input_service, "VERSIONS", "tf_simclr 0.0.1, TensorFlow 2.1")
    with pytest.raises(InputError, match=r"runs tf_simclr .*, and this process tf_simclr 0\.0\.1, TensorFlow 2\.1"):
        require_input_workers(workers)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"`port` and the one after it must be free\. Received: {port}"):
            InputService(port, "localhost")
