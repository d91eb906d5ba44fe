"""What a training step computes and keeps, read from its graph: nothing is computed, and no variable has a value."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import AUTO_PRECISION, Durations, ExperimentConfig
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import TrainState, build_train_state
from tf_simclr.train.online_head import plain_images

# Images of the batch that is traced. Convolutions and what they keep grow in proportion to the images. The number is
# odd and above 1, so that no other dimension of the network is likely to be twice as large.
_TRACED_IMAGES = 11
_LENGTHS = Durations(train_steps=100, warmup_steps=10, checkpoint_steps=10, steps_per_epoch=10)
# Of TensorFlow's names: what a tf.GradientTape adds begins with it.
_BACKWARD = "gradient_tape/"
# Operations that give the same values under another name, so that nothing is kept twice.
_ALIASES = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient"})
# They read a tensor's shape and not its values.
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs"})
_ASSIGNMENTS = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
_CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")


@dataclass(frozen=True)
class StepCosts:
    """What one replica computes and keeps in a step; exact for the graph as TensorFlow traces it.

    Attributes:
        parameters: of the encoder, the projection head and the supervised head, by name: trained or frozen weights,
            without moving statistics.
        statistics: moving statistics of the batch norms.
        trained: parameters that are trained.
        weight_bytes: of all variables of the networks.
        gradient_bytes: of the gradients of what is trained.
        slot_bytes: of the optimizer's variables, and of the online head's.
        forward_flops: of one view through encoder and projection head; two for a multiplication and an addition.
        step_flops: of one image in a step: its views, forward and backward.
        kept_bytes: of the values of one image that the backward pass needs again, with its input.
        widest_bytes: of the largest tensor of one image.
        copied_bytes: of the weights in the layers' type, where that is not float32.
        memory_bytes: of the memory bank: its copy of the networks, and its queue.
        views: of an image.
        work: (FLOPs, bytes read and written) of the operations of a step, for one image; a pair for all that are alike.
    """

    parameters: dict[str, int]
    statistics: int
    trained: int
    weight_bytes: int
    gradient_bytes: int
    slot_bytes: int
    forward_flops: float
    step_flops: float
    kept_bytes: float
    widest_bytes: float
    copied_bytes: int
    memory_bytes: int
    views: int
    work: tuple[tuple[float, float], ...]

    @property
    def total_parameters(self) -> int:
        """Of all parts."""
        return sum(self.parameters.values())

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The roofline of a step for one image: each operation takes the longer of its arithmetic and its traffic."""
        return sum(max(flops / flops_per_second, moved / bytes_per_second) for flops, moved in self.work)


def trace_step(config: ExperimentConfig, num_classes: int) -> StepCosts:
    """Builds the networks and the step of a run in a graph of its own, and counts.

    Args:
        config: of the run. Where its step is cut into micro-batches, is compiled, guarded or makes the views by itself
            does not change what is counted: the step is traced without.
        num_classes: of the training data; 0 without labels.
    """
    with compat.graph_without_values() as graph:
        state = build_train_state(_plain(config), _LENGTHS, num_classes)
        before = len(graph.get_operations())
        batch = _batch(state.config)
        state.step(batch)
    # Micro-batches run the forward pass a second time, and so does a memory's copy of the networks.
    more_passes = bool(config.train.micro_batch_size) + bool(config.loss.memory_size)
    counted = _counted(state, batch["views"], graph.get_operations()[before:], more_passes)
    return replace(
        counted,
        step_flops=counted.step_flops + _flops_beyond(config, state, counted),
        memory_bytes=_memory_bytes(config, state),
    )


def _memory_bytes(config: ExperimentConfig, state: TrainState) -> int:
    if not config.loss.memory_size:
        return 0
    copied = [v for path, v in state.model.named_variables().items() if not path.startswith("supervised_head/")]
    return 4 * (_elements(copied) + config.loss.memory_size * _projection_width(state))


def _projection_width(state: TrainState) -> int:
    return state.model.require_projection_head().output["proj_head_output"].shape[-1]


def _flops_beyond(config: ExperimentConfig, state: TrainState, counted: StepCosts) -> float:
    """For one image, what grows otherwise than the traced batch does: similarities, and the online head's images."""
    if config.train.train_mode == "finetune":
        return 0.0
    n = config.data.train_batch_size
    # [2n, d] x [d, 2n + m] with a memory of m, and as much for the gradient of either factor.
    similarities = 3 * 2 * 2 * n * (2 * n + config.loss.memory_size) * _projection_width(state) / n
    plain = plain_images(n) / n if state.online is not None else 0.0
    return similarities + plain * counted.forward_flops


def _plain(config: ExperimentConfig) -> ExperimentConfig:
    precision = "float32" if config.runtime.precision == AUTO_PRECISION else config.runtime.precision
    return replace(
        config,
        data=replace(config.data, train_batch_size=_TRACED_IMAGES),
        loss=replace(config.loss, memory_size=0),
        train=replace(config.train, micro_batch_size=0, skip_nonfinite_steps=0),
        runtime=replace(config.runtime, precision=precision, jit_compile=False, augment_on="host"),
    )


def _batch(config: ExperimentConfig) -> dict[str, Any]:
    n, side = config.data.train_batch_size, config.data.image_size
    views = 1 if config.train.train_mode == "finetune" else 2
    placeholder = tf.compat.v1.placeholder
    images = tuple(placeholder(tf.float32, [n, side, side, 3]) for _ in range(views))
    return {"views": images, "label": placeholder(tf.int64, [n])}


def _counted(state: TrainState, views: tuple[Any, ...], operations: list[Any], more_passes: int) -> StepCosts:
    """Counts a step that runs the forward pass some more times than once, without a memory."""
    needed = _needed(state, operations)
    operations = [operation for operation in operations if operation in needed]
    numbers = (number for number, operation in enumerate(operations) if operation.name.startswith(_BACKWARD))
    first = next(numbers, len(operations))
    of_batch = _descendants(views, operations)
    rows = len(views) * _TRACED_IMAGES
    kept, copied = _kept(operations[:first], operations[first:], of_batch, rows)
    run = operations[:first] * more_passes + operations
    widest = max(_bytes_of(t) for o in operations[:first] for t in o.outputs if t.ref() in of_batch)
    parameters, statistics = parameters_of(state.model)
    variables = state.model.named_variables().values()
    slots = {path: v for path, v in state.named_state().items() if path.startswith(("optimizer/", "online_head/"))}
    return StepCosts(
        parameters,
        statistics,
        trained=_elements(state.trained),
        weight_bytes=4 * _elements(variables),
        gradient_bytes=4 * _elements(state.trained),
        slot_bytes=sum(_bytes_of(compat.raw_variable(v)) for v in slots.values()),
        forward_flops=sum(flops_of(o) for o in operations[:first] if not _compares(o)) / rows,
        step_flops=sum(flops_of(o) for o in run if not _compares(o)) / _TRACED_IMAGES,
        kept_bytes=kept / _TRACED_IMAGES,
        widest_bytes=widest / _TRACED_IMAGES,
        copied_bytes=copied,
        memory_bytes=0,
        views=len(views),
        work=_work(run, of_batch, rows),
    )


def _needed(state: TrainState, operations: list[Any]) -> set[Any]:
    """The operations that an update of what is trained needs; the online head's and unused gradients are none."""
    slots = [v for path, v in state.named_state().items() if path.startswith("optimizer/")]
    handles = {compat.raw_variable(v).handle.ref() for v in (*state.trained, *slots)}
    waiting = [o for o in operations if o.type in _ASSIGNMENTS and o.inputs[0].ref() in handles]
    within, found = set(operations), set(waiting)
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op in within and tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found


def _compares(operation: Any) -> bool:
    """Whether it works on a matrix of images by images: the loss's, which does not grow in proportion to the batch."""
    lengths = {_TRACED_IMAGES, 2 * _TRACED_IMAGES}
    tensors = (*operation.inputs, *operation.outputs)
    return any(t.shape.rank == 2 and {*t.shape} <= lengths for t in tensors)


def _descendants(tensors: Iterable[Any], operations: list[Any]) -> set[Any]:
    """References to all tensors that are computed from some; operations are in the order in which they were made."""
    found = {tensor.ref() for tensor in tensors}
    for operation in operations:
        if any(tensor.ref() in found for tensor in operation.inputs):
            found.update(tensor.ref() for tensor in operation.outputs)
    return found


def _kept(forward: list[Any], backward: list[Any], of_batch: set[Any], rows: int) -> tuple[int, int]:
    """Bytes of what the backward pass reads of the forward pass: of the images, and of casts of weights."""
    made = {tensor.ref() for operation in forward for tensor in operation.outputs}
    read = {
        _source(tensor).ref()
        for operation in backward
        if operation.type not in _SHAPES
        for tensor in operation.inputs
        if tensor.ref() in made
    }
    images = copies = 0
    for reference in read:
        tensor = reference.deref()
        if reference in of_batch and tensor.shape.rank and tensor.shape[0] == rows:
            images += _bytes_of(tensor)
        elif tensor.op.type == "Cast" and _source(tensor.op.inputs[0]).op.type == "ReadVariableOp":
            copies += _bytes_of(tensor)
    return images, copies


def _work(operations: list[Any], of_batch: set[Any], rows: int) -> tuple[tuple[float, float], ...]:
    """(FLOPs, bytes) of the operations on images, for one image; what only concerns weights is left out."""
    found: collections.Counter[tuple[int, int]] = collections.Counter()
    for operation in operations:
        if operation.type in _ALIASES or operation.type in _SHAPES:
            continue
        tensors = (t for t in (*operation.inputs, *operation.outputs) if t.ref() in of_batch)
        moved = sum(_bytes_of(t) for t in tensors if t.shape.rank and t.shape[0] == rows)
        if moved:
            found[flops_of(operation), moved] += 1
    return tuple(
        (count * flops / _TRACED_IMAGES, count * moved / _TRACED_IMAGES) for (flops, moved), count in found.items()
    )


def _source(tensor: Any) -> Any:
    """The tensor that holds the values of another one."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[0]
    return tensor


def _bytes_of(tensor: Any) -> int:
    if tensor.dtype == tf.resource or not tensor.shape.is_fully_defined():
        return 0
    return tensor.shape.num_elements() * tensor.dtype.size


def _elements(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def parameters_of(model: SimCLRModel) -> tuple[dict[str, int], int]:
    """The weights of each part of the networks, and the moving statistics of all."""
    counts: dict[str, int] = {}
    statistics = 0
    for path, variable in model.named_variables().items():
        part, leaf = path.split("/")[0], path.rsplit("/", 1)[-1]
        if leaf.startswith("moving_"):
            statistics += math.prod(variable.shape)
        else:
            counts[part] = counts.get(part, 0) + math.prod(variable.shape)
    return counts, statistics


def flops_of(operation: Any) -> int:
    """Floating-point operations of a convolution or a product of matrices, or of a gradient of one; 0 of all others.

    The others are less than a hundredth of a ResNet's.
    """
    if operation.type in _CONVOLUTIONS:
        return _flops_of_convolution(operation)
    if operation.type in ("MatMul", "BatchMatMulV2"):
        first, output = operation.inputs[0].shape, operation.outputs[0].shape
        transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
        return 2 * output.num_elements() * first[-2 if transposed else -1]
    return 0


def _flops_of_convolution(operation: Any) -> int:
    """Twice the products: each output of a convolution is a sum over a kernel's height, width and input channels."""
    kind = operation.type
    # Both gradients have as many products as the convolution itself: of its outputs with its kernel.
    kernel = operation.outputs[0] if kind == "Conv2DBackpropFilter" else operation.inputs[1]
    outputs = operation.outputs[0] if kind == "Conv2D" else operation.inputs[2]
    return 2 * outputs.shape.num_elements() * math.prod(kernel.shape[:3])
