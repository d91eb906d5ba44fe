"""No read of a variable may move past its update when TensorFlow optimises the graph of a training step."""

from __future__ import annotations

import functools

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.grappler import tf_optimizer

from tests.networks import small_networks
from tf_simclr.config import Durations, build_config
from tf_simclr.train import build

BATCH, SIZE = 16, 8
DURATIONS = Durations(train_steps=10, warmup_steps=0, checkpoint_steps=10, steps_per_epoch=10)
PASSES = ("pruning", "function", "shape", "constfold", "arithmetic", "loop", "dependency")


def optimised_step(monkeypatch, **values):
    """The nodes, by name, of a training step's graph after the passes that move and drop edges."""
    monkeypatch.setattr(build, "build_networks", small_networks)
    flags = {"dataset": "shapes", "train_batch_size": BATCH, "warmup_epochs": 0, "learning_rate": 1.0} | values
    state = build.build_train_state(build_config(flags), DURATIONS, num_classes=3)
    views = tf.random.stateless_uniform([2, BATCH, SIZE, SIZE, 3], seed=(0, 1))
    batch = {"views": tuple(tf.unstack(views)), "label": tf.range(BATCH) % 3}
    graph = tf.function(state.step).get_concrete_function(batch).graph
    meta = tf.compat.v1.train.export_meta_graph(graph=graph, graph_def=graph.as_graph_def(add_shapes=True))
    kept = meta.collection_def["train_op"].node_list.value
    kept.extend([x.name for x in graph.outputs] + [x.name for x in graph.control_outputs])
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.extend(PASSES)
    return {node.name: node for node in tf_optimizer.OptimizeGraph(config, meta).node}


def producers(node):
    return [name.lstrip("^").split(":")[0] for name in node.input]


def unordered_accesses(nodes):
    """Pairs of accesses of one variable, at least one an update, of which either may come first; and all such pairs."""

    @functools.cache
    def before(name):
        found, waiting = set(), [name]
        while waiting:
            new = set(producers(nodes[waiting.pop()])) - found
            found |= new
            waiting += new
        return found

    accesses = {}
    for node in nodes.values():
        if node.op == "ReadVariableOp" or node.op.startswith(("Assign", "ResourceApply")):
            accesses.setdefault(node.input[0], []).append(node)
    pairs = [
        (one.name, update.name)
        for found in accesses.values()
        for update in found
        for one in found
        if update.op != "ReadVariableOp" and one is not update
    ]
    return [(a, b) for a, b in pairs if a not in before(b) and b not in before(a)], pairs


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "lars"},
        {"optimizer": "momentum", "micro_batch_size": 5},  # a last micro-batch outside the loop
        {"optimizer": "lars", "micro_batch_size": 8},
        {"optimizer": "lars", "precision": "float16", "micro_batch_size": 5},
        {"optimizer": "momentum", "skip_nonfinite_steps": 1, "micro_batch_size": 8},
        {"optimizer": "momentum", "memory_size": 64},
        {"optimizer": "lars", "memory_size": 64, "micro_batch_size": 5, "ema_decay": 0.9},
    ],
    ids=lambda values: "-".join(str(v) for v in values.values()),
)
def test_every_read_stays_on_its_side_of_the_update(values, monkeypatch):
    unordered, pairs = unordered_accesses(optimised_step(monkeypatch, **values))
    assert len(pairs) > 20
    assert not unordered
