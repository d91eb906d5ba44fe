"""What a step is fed, where input workers make it: the same batches, on one replica and on several."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.config import build_config
from tf_simclr.data.input_service import InputService
from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import InputError
from tf_simclr.train.input import build_train_iterator

FLAGS = {"dataset": "shapes", "image_size": 8, "train_batch_size": 4, "use_blur": False, "color_jitter_strength": 0.0}


@pytest.fixture(scope="module")
def services():
    return [InputService(host="localhost") for _ in range(2)]


def batches_of(strategy, **flags):
    iterator = build_train_iterator(
        build_config(FLAGS | flags), shapes_source("train[:12]"), strategy, 2, host_only=True
    )
    local = strategy.experimental_local_results
    return [tf.nest.map_structure(local, batch) for batch in itertools.islice(iterator, 4)]


@pytest.mark.parametrize("replicas", [1, 2])
def test_input_workers_feed_every_replica_the_same_batches(replicas, services, mirrored):
    strategy = mirrored(2) if replicas == 2 else tf.distribute.OneDeviceStrategy("CPU:0")
    addresses = ",".join(service.address for service in services)
    found, expected = batches_of(strategy, input_workers=addresses), batches_of(strategy)
    assert len(found) == 4
    tf.nest.map_structure(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    "text", ["host:5050", "grpc://host", "grpc://host:no", "http://host:1", "grpc://host:1/x", ","]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match=rf"`input_workers` must .* Received: input_workers=.*{text}"):
        build_config({"input_workers": text})


def test_images_held_here_are_not_read_elsewhere():
    with pytest.raises(InputError, match=r"`cache_dataset` .* input_workers=grpc://host:1"):
        build_config({"input_workers": "grpc://host:1", "cache_dataset": True})
